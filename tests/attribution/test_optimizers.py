"""Every optimizer whose updates are linear given an observed diagonal, against its textbook update.

The definition trains again by itself, in float64: `explaind.reference.optimizers` keeps each update as a row per training
sample and one for weight decay, and the rows are integrated along the path here. It reads nothing from the recording.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, jacrev

import explaind
from explaind.errors import LedgerError, RecordingError, StoreError
from explaind.ledger import norms
from explaind.optimizers import REASONS
from explaind.recording import Trajectory
from explaind.reference import optimizers as textbook
from tests.attribution.outside import Lamb, Lion, Signum
from tests.attribution.test_cases import resumed
from tests.attribution.tiny import Net, Run, make_data, record_run
from tests.situations import EXACT, refused, situation

BATCHES = [[0, 1, 2], [3, 4, 5, 0], [6, 0, 0], [1, 2, 3], [4, 5]]
NODES = 3  # the same midpoints on both sides, so that only the split of each update is compared
EARLIER = 3  # updates of an optimizer that had trained before


@dataclass
class Case:
    """An optimizer of a test, with the textbook update that defines it."""

    kind: Callable[..., torch.optim.Optimizer]
    update: textbook.Update
    options: dict[str, Any] = field(default_factory=dict)
    clip: float | None = None
    before: bool = False
    schedule: float = 1.0  # the learning rate's factor from update to update

    def make(self, model: nn.Module) -> torch.optim.Optimizer:
        return self.kind(model.parameters(), **self.options)


optim = torch.optim
CASES: dict[str, Case] = {
    "RMSprop": Case(optim.RMSprop, textbook.rmsprop, {"lr": 0.002, "weight_decay": 0.1}),
    "RMSprop, centered, with momentum": Case(
        optim.RMSprop, textbook.rmsprop, {"lr": 0.001, "momentum": 0.8, "centered": True, "weight_decay": 0.1}
    ),
    "RMSprop with clipping and a schedule": Case(
        optim.RMSprop, textbook.rmsprop, {"lr": 0.002, "momentum": 0.5}, clip=0.3, schedule=0.8
    ),
    "Adagrad": Case(
        optim.Adagrad,
        textbook.adagrad,
        {"lr": 0.05, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.01},
    ),
    "Adadelta": Case(
        optim.Adadelta, textbook.adadelta, {"lr": 1.0, "weight_decay": 0.1, "eps": 1e-4, "rho": 0.8}
    ),
    "Adamax": Case(optim.Adamax, textbook.adamax, {"lr": 0.02, "weight_decay": 0.1}),
    "Adamax, maximize": Case(optim.Adamax, textbook.adamax, {"lr": 0.02, "maximize": True}),
    "AMSGrad": Case(
        optim.AdamW,
        textbook.amsgrad,
        {"lr": 0.02, "betas": (0.8, 0.5), "weight_decay": 0.3, "amsgrad": True},
    ),
    "AMSGrad with coupled decay": Case(
        optim.Adam, textbook.amsgrad, {"lr": 0.02, "betas": (0.8, 0.5), "weight_decay": 0.3, "amsgrad": True}
    ),
    "NAdam": Case(optim.NAdam, textbook.nadam, {"lr": 0.02, "weight_decay": 0.1}),
    "NAdam with decoupled decay": Case(
        optim.NAdam, textbook.nadam, {"lr": 0.02, "weight_decay": 0.3, "decoupled_weight_decay": True}
    ),
    "RAdam": Case(optim.RAdam, textbook.radam, {"lr": 0.02, "betas": (0.9, 0.6), "weight_decay": 0.1}),
    "RAdam before its rectification": Case(optim.RAdam, textbook.radam, {"lr": 0.02, "weight_decay": 0.1}),
    "RAdam with decoupled decay": Case(
        optim.RAdam, textbook.radam, {"lr": 0.02, "weight_decay": 0.3, "decoupled_weight_decay": True}
    ),
    "ASGD": Case(optim.ASGD, textbook.asgd, {"lr": 0.05, "lambd": 0.1, "weight_decay": 0.1}),
    "Adafactor": Case(
        optim.Adafactor,
        textbook.adafactor,
        {"lr": 0.05, "weight_decay": 0.1, "d": 1.0, "eps": (1e-3, 1e-3)},
    ),
    "Lion": Case(Lion, textbook.lion, {"lr": 0.005, "weight_decay": 0.1}),
    "Lion with clipping": Case(Lion, textbook.lion, {"lr": 0.005, "betas": (0.5, 0.7)}, clip=0.3),
    "signSGD": Case(Signum, textbook.signum, {"lr": 0.005}),
    "Signum, with momentum": Case(
        Signum, textbook.signum, {"lr": 0.005, "momentum": 0.8, "weight_decay": 0.1}
    ),
    "LAMB": Case(Lamb, textbook.lamb, {"lr": 0.01, "weight_decay": 0.2}),
    "LAMB that clips by itself": Case(
        Lamb, textbook.lamb, {"lr": 0.01, "weight_decay": 0.2, "max_grad_norm": 0.3}
    ),
}
#: One of each kind, for what takes longer: the same optimizer after it had trained before, and with foreach kernels.
FEW = ["RMSprop, centered, with momentum", "NAdam", "Adadelta", "Adafactor", "Lion", "LAMB"]


def recorded(case: Case, path: Path, **options: Any) -> Run:
    decay = lambda o: torch.optim.lr_scheduler.ExponentialLR(o, case.schedule)  # noqa: E731
    return record_run(
        path,
        case.make,
        batches=BATCHES,
        clip=case.clip,
        schedule=decay if case.schedule != 1 else None,
        before=resumed if case.before else None,
        loss=(lambda f, y: -F.cross_entropy(f, y)) if case.options.get("maximize") else F.cross_entropy,
        **options,
    )


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """The recorded run of a case, trained once."""
    folder = tmp_path_factory.mktemp("optimizers")
    return cache(lambda name: recorded(CASES[name], folder / f"{name}.zarr"))


@dataclass
class Definition:
    """Σ over a window: kernel [N + 1, X, O], its last row what samples before the recording do; regularization [X, O]."""

    kernel: Tensor
    regularization: Tensor
    last: Tensor


def defined(case: Case, run: Run, window: tuple[int, int]) -> Definition:
    """The definition, trained anew from the same start."""
    torch.manual_seed(0)
    model = Net().double()
    theta = {name: value.detach().clone() for name, value in model.named_parameters()}
    defaults = case.make(model).defaults
    earlier = EARLIER if case.before else 0
    names, count = list(theta), len(run.train[0])

    def options(s: int) -> dict[str, Any]:
        return {**defaults, "lr": defaults["lr"] * case.schedule ** max(0, s - earlier)}

    def gradients(at: dict[str, Tensor], s: int) -> dict[str, Tensor]:
        (x, y), index = run.train, BATCHES[s - earlier] if s >= earlier else list(range(count))
        if s < earlier:
            x, y = make_data(9)[0]
        leaves = {name: value.clone().requires_grad_() for name, value in at.items()}
        outputs = functional_call(model, leaves, (x[index],))
        loss = (F.cross_entropy if s < earlier else run.loss)(outputs, y[index])
        (delta,) = torch.autograd.grad(loss, outputs, retain_graph=True)
        rows = {name: torch.zeros(count + 1, *value.shape, dtype=torch.float64) for name, value in at.items()}
        for place, k in enumerate(index):
            parts = torch.autograd.grad(
                (outputs[place] * delta[place]).sum(), leaves.values(), retain_graph=True
            )
            for name, part in zip(names, parts, strict=True):
                rows[name][count if s < earlier else k] += part
        factor = -1.0 if case.options.get("maximize") else 1.0
        for limit in (case.clip, defaults.get("max_grad_norm")):
            if limit is not None and s >= earlier:
                total = torch.cat([row.sum(0).flatten() for row in rows.values()]).norm()
                factor *= min(1.0, limit / (float(total) + 1e-6 * (limit is case.clip)))  # torch's own 1e-6
        return {name: factor * row for name, row in rows.items()}

    def value(at: dict[str, Tensor]) -> Tensor:
        return functional_call(model, at, (run.test[0],))

    kernel = torch.zeros(count + 1, *value(theta).shape, dtype=torch.float64)
    regularization = torch.zeros_like(kernel[0])
    for s, (at, moves) in enumerate(
        textbook.path(case.update, options, theta, gradients, earlier + window[1])
    ):
        if s >= earlier + window[0]:
            along = {name: rows.sum(0) for name, rows in moves.items()}
            for node in range(NODES):
                middle = (node + 0.5) / NODES
                slope = jacrev(value)({name: v + middle * along[name] for name, v in at.items()})
                for name, rows in moves.items():
                    product = 1 / NODES * torch.einsum("xop,kp->kxo", slope[name].flatten(2), rows.flatten(1))
                    kernel += product[:-1]
                    regularization += product[-1]
        theta = {name: v + moves[name].sum(0) for name, v in at.items()}
    return Definition(kernel, regularization, torch.cat([v.flatten() for v in theta.values()]))


def explained(run: Run, window: tuple[int, int], keep: tuple[str, ...] = ("train", "test", "output")) -> Any:
    return explaind.influence(
        run.path, run.model, run.loss, train=run.train, test=run.test[0], keep=keep, steps=slice(*window),
        nodes=NODES, tail_tolerance=0,
    )  # fmt: skip


def close(values: Any, expected: Tensor, atol: float = 1e-8) -> None:
    torch.testing.assert_close(torch.tensor(values.values), expected, atol=atol, rtol=0)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=situation("Optimizers", name, EXACT)) for name in CASES]
)
def test_every_sample_has_the_influence_of_the_textbook_update(name: str, run_of: Callable) -> None:
    case, window, run = CASES[name], (1, len(BATCHES)), run_of(name)
    expected = defined(case, run, window)
    torch.testing.assert_close(run.trajectory.parameters(window[1]), expected.last, atol=1e-8, rtol=0)
    assert float(expected.kernel[:-1].abs().amax((1, 2)).min()) > 1e-5  # every sample does something
    scores = explained(run, window)
    close(scores.kernel, expected.kernel[:-1])
    close(scores.regularization, expected.regularization)
    assert float(abs(scores.replay).max()) <= 1e-10
    if name in FEW:  # the buffer forwards, and not its adjoint
        by_step = explained(run, window, ("step", "train", "test", "output"))
        close(by_step.kernel.sum("step"), expected.kernel[:-1])


@pytest.mark.parametrize("name", FEW)
def test_an_optimizer_that_had_trained_before(name: str, tmp_path: Path) -> None:
    """What earlier samples left in the momentum is a term of its own, and theirs alone."""
    case, window = replace(CASES[name], before=True), (0, len(BATCHES))
    run = recorded(case, tmp_path / "run.zarr")
    expected = defined(case, run, window)
    scores = explained(run, window)
    close(scores.kernel, expected.kernel[:-1])
    # The decay that entered the momentum before the recording is carried too.
    earlier = scores.carried if "carried" in scores else 0.0
    close(scores.regularization + earlier, expected.regularization + expected.kernel[-1])


@pytest.mark.parametrize("name", FEW)
def test_a_run_that_was_killed_goes_on_bit_by_bit(name: str, tmp_path: Path) -> None:
    case, (x, y) = CASES[name], make_data()[0]

    def train(path: Path, stop: int, resume: bool = False) -> Tensor:
        torch.manual_seed(0)
        model = Net().double()
        optimizer = case.make(model)
        with explaind.record(path, model, optimizer, chunk_steps=2, resume=resume) as run:
            for step in range(run.step, 6):
                if step == stop:
                    raise KeyboardInterrupt
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                run.batch(range(len(x)))
                optimizer.step()
        return Trajectory(path).parameters(6)

    whole = train(tmp_path / "whole.zarr", 99)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed.zarr", 5)
    assert torch.equal(train(tmp_path / "killed.zarr", 99, resume=True), whole)
    for s in range(6):
        first, second = (
            Trajectory(tmp_path / f"{one}.zarr").preconditioner(s) for one in ("whole", "killed")
        )
        assert torch.equal(first, second)


@pytest.mark.parametrize("name", FEW)
def test_single_precision_passes_its_checks(name: str, tmp_path: Path) -> None:
    """As users train: the updates are rebuilt to the precision in which they were made, and a wrong batch is not."""
    run = recorded(CASES[name], tmp_path / "run.zarr", dtype=torch.float32)
    scores = explaind.influence(
        run.path, run.model, run.loss, train=run.train, test=run.test[0], keep=("train", "test")
    )
    assert float(abs(scores.replay).max()) <= float(scores.replay_bound.max())
    wrong = (run.train[0].flip(0), run.train[1])
    with pytest.raises(LedgerError, match="cannot be rebuilt"):
        explaind.influence(
            run.path, run.model, run.loss, train=wrong, test=run.test[0], keep=("train", "test")
        )


@pytest.mark.parametrize("name", CASES)
def test_without_training_samples_the_length_of_the_gradient_is_checked(name: str, run_of: Callable) -> None:
    run = run_of(name)
    for steps in (None, slice(3, 5)) if name in FEW else (None,):
        scores = explaind.influence(
            run.path, run.model, test=run.test[0], keep=("step",), steps=steps, nodes=1
        )
        assert scores.attrs["replay_checked"] == "norms"
        assert scores.attrs["replay_worst"] <= 1e-8


def test_a_wrong_start_of_the_momentum_is_forgotten_before_it_is_used() -> None:
    """Lion's buffer keeps 0.9 of an error from update to update, far more than Nesterov's."""
    steady = {"mu": (0.99,), "kappa": (0.01,), "rho": (0.9 / 0.99,), "sigma": (1 - 0.9 / 0.99,)}
    ledger = SimpleNamespace(coefficients=lambda s: SimpleNamespace(**steady))
    first = norms._faded(ledger, 1000)
    assert 0.9 ** (1000 - first) < 1e-17
    assert first < norms._faded(ledger, 1001) and norms._faded(ledger, 100) == 0


@pytest.mark.parametrize("name", ["Lion", "Signum, with momentum"])
def test_an_entry_without_gradient_does_not_move_by_its_sign(name: str, tmp_path: Path) -> None:
    """sign(0) = 0: what is 0 is not divided by its size, and the momentum of a window is inferred all the same."""
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)).double()
    with torch.no_grad():
        model[0].bias[0] = -100.0  # never active
    run = record_run(tmp_path / "run.zarr", CASES[name].make, model=model, batches=BATCHES)
    assert bool((run.trajectory.preconditioner(0) == 0).any())
    for window in ((0, len(BATCHES)), (2, 4)):
        scores = explaind.influence(
            run.path, run.model, run.loss, train=run.train, test=run.test[0], keep=("train", "test"),
            steps=slice(*window), tail_tolerance=0,
        )  # fmt: skip
        assert float(abs(scores.replay).max()) <= 1e-10
    scores = explaind.influence(run.path, run.model, test=run.test[0], keep=("step",), nodes=1)
    assert scores.attrs["replay_worst"] <= 1e-8


def test_what_another_optimizer_of_the_name_does_is_refused(tmp_path: Path) -> None:
    """A Lion that adds the gradient itself to its step: found by its name, told apart by its updates."""

    def make(model: nn.Module) -> optim.Optimizer:
        optimizer = Lion(model.parameters())
        optimizer.register_step_post_hook(add)
        return optimizer

    @torch.no_grad()
    def add(optimizer: optim.Optimizer, *_: Any) -> None:
        for p in optimizer.param_groups[0]["params"]:
            p.sub_(p.grad, alpha=0.01)

    run = record_run(tmp_path / "run.zarr", make)
    with pytest.raises(LedgerError, match="cannot be rebuilt"):
        explained(run, (0, 5))


def test_a_run_is_resumed_with_its_own_optimizer(tmp_path: Path) -> None:
    recorded(CASES["Lion"], tmp_path / "run.zarr")
    model = Net().double()
    with (
        pytest.raises(StoreError, match="another optimizer"),
        explaind.record(tmp_path / "run.zarr", model, CASES["NAdam"].make(model), resume=True),
    ):
        pass


OTHERS = {
    "Rprop": optim.Rprop,
    "Muon": optim.Muon,
    "SparseAdam": optim.SparseAdam,
    "Shampoo": type("Shampoo", (optim.SGD,), {}),
    "SOAP": type("SOAP", (optim.SGD,), {}),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=situation("Optimizers", n, refused(REASONS[n]))) for n in OTHERS],
)
def test_others_are_refused_by_name(name: str, tmp_path: Path) -> None:
    model = nn.Linear(3, 3, bias=False)
    with pytest.raises(RecordingError, match=f"{name}.*{REASONS[name][:30]}"):
        explaind.record(tmp_path / "run.zarr", model, OTHERS[name](model.parameters(), lr=0.1))


@pytest.mark.parametrize("option", ["capturable", "differentiable"])
def test_options_that_change_the_equations_are_refused(option: str, tmp_path: Path) -> None:
    model = nn.Linear(3, 3)
    with pytest.raises(RecordingError, match=f"{option}=True"):
        explaind.record(tmp_path / "run.zarr", model, optim.NAdam(model.parameters(), **{option: True}))
