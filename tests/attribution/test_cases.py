"""The ordinary situations of method.md section 5: each is explained exactly, or refused in words.

Exact means: per-sample influences equal the definition, and what completeness misses is below 1e-8, in float64.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import explaind
from explaind.errors import ExplaindError, LedgerError, RecordingError
from explaind.recording import Trajectory
from tests.attribution.tiny import Net, Run, make_data, record_run
from tests.situations import EXACT, refused, situation


def adamw(model: nn.Module, **options: object) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), **{"lr": 0.02, "weight_decay": 0.3, **options})


def sgd(model: nn.Module, **options: object) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), **{"lr": 0.05, "momentum": 0.9, **options})


def two_groups(model: nn.Module) -> torch.optim.Optimizer:
    first, second = list(model.parameters())[:2], list(model.parameters())[2:]
    return torch.optim.AdamW(
        [{"params": second, "lr": 0.03, "betas": (0.8, 0.9)}, {"params": first, "weight_decay": 0.0}], lr=0.01
    )


def frozen(model: nn.Module) -> torch.optim.Optimizer:
    model.first.bias.requires_grad_(False)
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)


class Tied(Net):
    """The second layer reuses the first one's weight."""

    def __init__(self) -> None:
        super().__init__(3, 3, 3)
        self.second.weight = self.first.weight


class Normalized(Net):
    """A batch norm, whose buffers come before later parameters, with frozen statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.norm.running_mean.add_(0.3)
        self.norm.eval()
        self.third = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.third(self.norm(super().forward(x)))


def resumed(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Three updates on other samples before the recording begins."""
    x, y = make_data(9)[0]
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    optimizer.zero_grad()


WEIGHTS = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)
MEAN_OF_RAGGED = [[0, 1, 2], [3, 4, 5], [6]]
CASES: dict[str, dict] = {
    "ragged last batch": {"make": adamw, "batches": MEAN_OF_RAGGED * 2},
    "learning-rate schedule": {
        "make": adamw,
        "schedule": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda s: 1 / (1 + s)),
    },
    "momentum under a schedule": {
        "make": lambda m: sgd(m, weight_decay=0.1),
        "schedule": lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.5),
    },
    "several parameter groups": {"make": two_groups},
    "buffers before parameters": {"make": adamw, "model": Normalized, "steps": 2},
    "frozen parameters": {"make": frozen},
    "tied weights": {"make": adamw, "model": Tied},
    "raw logits with cross entropy": {"make": sgd},
    "label smoothing": {"make": adamw, "loss": lambda f, y: F.cross_entropy(f, y, label_smoothing=0.1)},
    "class weights": {"make": adamw, "loss": lambda f, y: F.cross_entropy(f, y, weight=WEIGHTS)},
    "reduction sum": {"make": adamw, "loss": lambda f, y: F.cross_entropy(f, y, reduction="sum")},
    "gradient clipping": {"make": lambda m: sgd(m, weight_decay=0.1), "clip": 0.3},
    "sampling with replacement": {"make": adamw, "batches": [[0, 0, 1], [2, 2, 2], [3, 4, 0]]},
    "dampening": {"make": lambda m: sgd(m, dampening=0.5)},
    "nesterov": {"make": lambda m: sgd(m, nesterov=True, weight_decay=0.1)},
    "maximize": {"make": lambda m: adamw(m, maximize=True), "loss": lambda f, y: -F.cross_entropy(f, y)},
    "maximize with coupled decay": {"make": lambda m: sgd(m, maximize=True, weight_decay=0.1)},
    "fewer steps than a chunk": {"make": adamw, "steps": 1},
    "resumed from a checkpoint, AdamW": {"make": adamw, "before": resumed},
    "resumed from a checkpoint, SGD": {"make": lambda m: sgd(m, dampening=0.2), "before": resumed},
    "Adam's coupled decay": {"make": lambda m: torch.optim.Adam(m.parameters(), lr=0.02, weight_decay=0.5)},
    "a loss that couples samples": {"make": adamw, "loss": lambda f, y: F.cross_entropy(f, y) ** 2},
}


#: Case → the section of the guide's table that lists it.
KIND = {
    **dict.fromkeys(CASES, "The loop"),
    **dict.fromkeys(
        (
            "several parameter groups",
            "dampening",
            "nesterov",
            "maximize",
            "maximize with coupled decay",
            "momentum under a schedule",
            "Adam's coupled decay",
        ),
        "Optimizers",
    ),
    **dict.fromkeys(
        (
            "buffers before parameters",
            "tied weights",
            "raw logits with cross entropy",
            "label smoothing",
            "class weights",
            "reduction sum",
            "a loss that couples samples",
        ),
        "Models and losses",
    ),
    **dict.fromkeys(("frozen parameters",), "Runs that change"),
}


def explained(run: Run, keep: tuple[str, ...] = ("train", "test", "output")):
    return explaind.influence(
        run.path, run.model, run.loss, train=run.train, test=run.test[0],
        keep=keep, tolerance=1e-10, max_nodes=243, tail_tolerance=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=situation(KIND[case], case, EXACT)) for case in CASES]
)
def test_exact(case: str, tmp_path: Path) -> None:
    options = dict(CASES[case])
    make, model = options.pop("make"), options.pop("model", Net)
    torch.manual_seed(3)
    run = record_run(tmp_path / "run.zarr", make, model=model(), **options)
    run.model.eval()
    reference = run.reference(nodes=12)
    assert reference.replay < 1e-12, "the reference itself must rebuild the run"
    scores = explained(run)
    torch.testing.assert_close(
        torch.tensor(scores.kernel.values), reference.influence.sum((0, 1)), atol=1e-8, rtol=0
    )
    assert float(abs(scores.residual).max()) <= 1e-8
    assert float(abs(scores.replay).max()) <= 1e-12
    summed = explained(run, ("step", "layer", "test", "output"))
    assert float(abs(summed.residual).sum("step").max()) <= 1e-8
    assert float(abs(summed.regularization.sum(("step", "layer")) - scores.regularization).max()) <= 1e-8
    if "resumed" in case:
        carried = reference.carried.sum((0, 1))
        assert float(carried.abs().max()) > 1e-4
        torch.testing.assert_close(torch.tensor(scores.carried.values), carried, atol=1e-8, rtol=0)


@situation("The loop", "gradient accumulation with ragged parts", EXACT)
def test_gradient_accumulation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Net().double()
    optimizer, (train, test) = adamw(model), make_data()
    with explaind.record(tmp_path / "run.zarr", model, optimizer) as recorder:
        for _ in range(3):
            optimizer.zero_grad()
            for index, weight in (([0, 1, 2, 3], 0.25), ([4, 5, 6], 0.75)):
                (weight * F.cross_entropy(model(train[0][index]), train[1][index])).backward()
                recorder.batch(index, weight)
            optimizer.step()
    run = Run(tmp_path / "run.zarr", model, F.cross_entropy, train, test, [])
    reference = run.reference(nodes=12)
    torch.testing.assert_close(
        torch.tensor(explained(run).kernel.values), reference.influence.sum((0, 1)), atol=1e-8, rtol=0
    )


@situation("The loop", "a weight for each sample", EXACT)
def test_weights_per_sample(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Net().double()
    optimizer, (train, test) = sgd(model), make_data()
    weights = torch.tensor([0.5, 2.0, 0.0, 1.0], dtype=torch.float64)
    with explaind.record(tmp_path / "run.zarr", model, optimizer) as recorder:
        for _ in range(3):
            optimizer.zero_grad()
            losses = F.cross_entropy(model(train[0][:4]), train[1][:4], reduction="none")
            (weights * losses).sum().backward()
            recorder.batch(range(4), weights)
            optimizer.step()
    run = Run(tmp_path / "run.zarr", model, F.cross_entropy, train, test, [])
    scores = explained(run)
    assert float(abs(scores.replay).max()) <= 1e-12
    assert float(abs(scores.kernel.sel(train=2)).max()) == 0.0  # a sample of weight 0 did nothing


REFUSED: dict[str, tuple[type[ExplaindError], str, Callable[[Path], object]]] = {
    "an optimizer outside the ledger": (
        RecordingError,
        "Rprop",
        lambda p: record_run(p, lambda m: torch.optim.Rprop(m.parameters())),
    ),
    "LBFGS": (RecordingError, "LBFGS", lambda p: record_run(p, lambda m: torch.optim.LBFGS(m.parameters()))),
}


REASONS = {
    "LBFGS": ("Optimizers", "several evaluations an update, no sum of gradients"),
}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(c, marks=situation(REASONS[c][0], c, refused(REASONS[c][1])) if c in REASONS else ())
        for c in REFUSED
    ],
)
def test_refused(case: str, tmp_path: Path) -> None:
    error, word, record = REFUSED[case]
    with pytest.raises(error, match=word):
        record(tmp_path / "run.zarr")


def wrong_loss(run: Run) -> Run:
    run.loss = lambda f, y: F.cross_entropy(f, y, reduction="sum")
    return run


def other_data(run: Run) -> Run:
    run.train = make_data(5)[0]
    return run


def augmented(run: Run) -> Run:
    run.train = (run.train[0].flip(1), run.train[1])
    return run


@pytest.mark.parametrize("change", [wrong_loss, other_data, augmented])
def test_what_cannot_be_rebuilt_is_refused_before_anything_is_attributed(
    change: Callable, tmp_path: Path
) -> None:
    """A forgotten reduction, another data set, inputs that were augmented on the way: the replay does not fit."""
    run = record_run(tmp_path / "run.zarr", sgd)
    with pytest.raises(LedgerError, match="cannot be rebuilt"):
        explained(change(run))


def test_elementwise_clipping_without_recorded_factors_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a recording of before they were."""
    torch.manual_seed(0)
    model = Net().double()
    optimizer, (train, test) = sgd(model), make_data()
    with explaind.record(tmp_path / "run.zarr", model, optimizer) as recorder:
        for _ in range(2):
            optimizer.zero_grad()
            F.cross_entropy(model(train[0]), train[1]).backward()
            nn.utils.clip_grad_value_(model.parameters(), 0.05)
            recorder.batch(range(7))
            optimizer.step()
    run = Run(tmp_path / "run.zarr", model, F.cross_entropy, train, test, [])
    monkeypatch.setattr(Trajectory, "clip_entries", lambda self, s: None)
    with pytest.raises(LedgerError, match="clip_grad_value_.*record it again"):
        explained(run)


def test_the_users_model_is_left_alone(tmp_path: Path) -> None:
    run = record_run(tmp_path / "run.zarr", adamw)
    run.model.train()
    before = copy.deepcopy(run.model.state_dict())
    explained(run)
    assert run.model.training
    assert all(p.requires_grad and p.grad is not None for p in run.model.parameters())
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, before[name])
