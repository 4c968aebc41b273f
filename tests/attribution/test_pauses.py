"""Tensors without a gradient in some updates: frozen and unfrozen, experts, parameters that are used later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import explaind
from explaind.errors import ConfigError, RecordingError
from explaind.ledger import Ledger, compare_norms
from tests.attribution.tiny import Net, Run, make_data
from tests.situations import EXACT, refused, situation

OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "AdamW": lambda m: torch.optim.AdamW(m.parameters(), lr=0.02, weight_decay=0.3),
    "Adam": lambda m: torch.optim.Adam(m.parameters(), lr=0.02, weight_decay=0.3),
    "SGD": lambda m: torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9, dampening=0.3, weight_decay=0.1),
    "Nesterov": lambda m: torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9, nesterov=True),
    "plain SGD": lambda m: torch.optim.SGD(m.parameters(), lr=0.05, weight_decay=0.1),
}


class Experts(Net):
    """Adds the expert that each sample's first input chooses; a batch may need only one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(3, 3) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        out, right = super().forward(x), x[:, :1] > 0
        if torch._C._functorch.peek_interpreter_stack() is not None or (right.any() and not right.all()):
            return out + torch.where(right, self.experts[0](x), self.experts[1](x))
        return out + self.experts[0 if right.all() else 1](x)


def train(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: list[list[int]],
    change: Callable[[int], None] = lambda s: None,
    clip: float | None = None,
    first: int = 0,
    **options: object,
) -> Run:
    """Train with `change(s)` before the backward pass of update s."""
    data, test = make_data()
    with explaind.record(path, model, optimizer, chunk_steps=2, **options) as run:
        for s, index in enumerate(batches[run.step :], start=run.step):
            change(s)
            optimizer.zero_grad()
            F.cross_entropy(model(data[0][index]), data[1][index]).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            run.batch(index)
            optimizer.step()
    return Run(path, model, F.cross_entropy, data, test, batches)


def explained(run: Run, keep: tuple[str, ...], **options: object):
    options = {"tolerance": 1e-10, "max_nodes": 243, "tail_tolerance": 0, **options}
    return explaind.influence(
        run.path, run.model, run.loss, train=run.train, test=run.test[0], keep=keep, **options
    )


def check(run: Run, decided: bool = True) -> None:
    """Each way of answering against the definition; `decided`: every update says what its gradient was."""
    reference = run.reference(nodes=12)
    assert reference.replay < 1e-12, "the definition itself must rebuild the run"
    truth = reference.influence.sum(1)
    scores = explained(run, ("step", "train", "test", "output"))
    torch.testing.assert_close(torch.tensor(scores.kernel.values), truth, atol=1e-8, rtol=0)
    late = explained(run, ("train", "test", "output"), steps=slice(3, None))
    torch.testing.assert_close(torch.tensor(late.kernel.values), truth[3:].sum(0), atol=1e-8, rtol=0)
    summed = explained(run, ("step", "parameter", "test", "output"))
    assert float(abs(summed.residual).max()) <= 1e-8
    decay = reference.regularization.sum(1)
    torch.testing.assert_close(
        torch.tensor(summed.regularization.sum("parameter").values), decay, atol=1e-8, rtol=0
    )
    alone = explaind.influence(
        run.path, run.model, test=run.test[0], keep=("step", "layer", "test", "output"), tolerance=1e-10,
        max_nodes=243,
    )  # fmt: skip
    assert not decided or alone.attrs["replay_undecided"] == 0
    torch.testing.assert_close(
        torch.tensor(alone.kernel.sum("layer").values), truth.sum(1), atol=1e-8, rtol=0
    )


WHOLE = [list(range(7))] * 6


@situation("Runs that change", "a layer frozen and unfrozen again", EXACT)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_frozen_for_a_while(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    model = Net().double()

    def freeze(s: int) -> None:
        model.first.requires_grad_(s not in (1, 2, 4))

    run = train(tmp_path / "run.zarr", model, OPTIMIZERS[name](model), WHOLE, freeze, clip=0.3)
    assert [run.trajectory.step(s).active[0] for s in range(6)] == [True, False, False, True, False, True]
    check(run)


@situation("Runs that change", "a layer unfrozen in the middle of the run (record(later=...))", EXACT)
@pytest.mark.parametrize("name", ["AdamW", "SGD"])
def test_unfrozen_later(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    model = Net().double()

    def freeze(s: int) -> None:
        model.first.requires_grad_(s >= 2)

    run = train(
        tmp_path / "run.zarr", model, OPTIMIZERS[name](model), WHOLE, freeze, clip=0.3, later="first.*"
    )
    assert run.trajectory.step(5).clip_uniform and run.trajectory.step(2).clip_factor < 1
    check(run)


@situation("Runs that change", "gradients that are None in some updates (experts, conditional layers)", EXACT)
@pytest.mark.parametrize("name", ["AdamW", "Nesterov"])
def test_experts(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    model = Experts().double()
    x = make_data()[0][0]
    right, left = (x[:, 0] > 0).nonzero().flatten().tolist(), (x[:, 0] <= 0).nonzero().flatten().tolist()
    assert right and left
    batches = [right, left, right, right, left, [*right, *left]]
    run = train(tmp_path / "run.zarr", model, OPTIMIZERS[name](model), batches, later=["experts.1.*"])
    check(run)


def test_a_run_with_pauses_is_resumed_with_each_tensors_own_counter(tmp_path: Path) -> None:
    def freeze(model: nn.Module) -> Callable[[int], None]:
        return lambda s: model.first.requires_grad_(s not in (0, 1, 3))

    kept = []
    for stop in (None, 4):
        torch.manual_seed(0)
        model = Net().double()
        options = {"later": "first.*"}
        path = tmp_path / f"{stop}.zarr"
        if stop is not None:
            with pytest.raises(ZeroDivisionError):
                train(
                    path, model, OPTIMIZERS["AdamW"](model), WHOLE,
                    lambda s, model=model: 1 / (s - 5) and freeze(model)(s), **options,
                )  # fmt: skip
            torch.manual_seed(5)
            model = Net().double()
            options["resume"] = True
        run = train(path, model, OPTIMIZERS["AdamW"](model), WHOLE, freeze(model), **options)
        kept.append(run.trajectory)
    assert kept[0].n_steps == kept[1].n_steps == 6
    for s in range(7):
        assert torch.equal(kept[0].parameters(s), kept[1].parameters(s))
    assert kept[0].step(5).counts == kept[1].step(5).counts == (3, 3, 6, 6)


@situation(
    "Runs that change",
    "a first gradient in the middle of the run that was not announced",
    refused("name the parameter in record(later=...)"),
)
def test_not_announced(tmp_path: Path) -> None:
    model = Net().double()
    with pytest.raises(RecordingError, match="first.weight received its first gradient .* later"):
        train(
            tmp_path / "run.zarr", model, OPTIMIZERS["SGD"](model), WHOLE,
            lambda s: model.first.requires_grad_(s > 1),
        )  # fmt: skip
    with pytest.raises(ConfigError, match="does not have"):
        explaind.record(tmp_path / "other.zarr", model, OPTIMIZERS["SGD"](model), later="third.*")


@situation(
    "Runs that change",
    "a layer frozen for a while, with other optimizers than AdamW, Adam and SGD",
    refused("their counters are read of all tensors together"),
)
@pytest.mark.parametrize("name", ["RMSprop", "NAdam"])
def test_other_optimizers_do_not_pause(tmp_path: Path, name: str) -> None:
    model = Net().double()
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.01)
    with pytest.raises(RecordingError, match=f"first.weight has a gradient in some updates only.*{name}"):
        train(
            tmp_path / "run.zarr", model, optimizer, WHOLE, lambda s: model.first.requires_grad_(s != 2)
        )  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_after_an_update_without_any_gradient_norms_are_still_compared(name: str, tmp_path: Path) -> None:
    """It keeps every buffer, from which the gradients of the updates that follow are known again."""
    torch.manual_seed(3)
    model, (data, _) = Net().double(), make_data()
    optimizer = OPTIMIZERS[name](model)
    with explaind.record(tmp_path / "run.zarr", model, optimizer, chunk_steps=2) as run:
        for s in range(6):
            optimizer.zero_grad()
            if s != 2:
                F.cross_entropy(model(data[0]), data[1]).backward()
            run.batch(range(7))
            optimizer.step()
    ledger = Ledger(explaind.Trajectory(tmp_path / "run.zarr"), torch.float64)
    errors = list(compare_norms(ledger, 0, 6))
    assert all(error.relative < 1e-9 and error.rounding < 1e-6 for error in errors), errors
