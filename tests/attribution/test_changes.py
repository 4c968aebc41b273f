"""Runs that change: parameters that join the optimizer, an emptied state, a learning rate of zero."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import explaind
from explaind.errors import RecordingError, StoreError
from tests.attribution.test_pauses import OPTIMIZERS, WHOLE, check, explained, train
from tests.attribution.tiny import Net
from tests.situations import EXACT, refused, situation

NEW: dict[str, dict] = {
    "AdamW": {"lr": 0.05, "weight_decay": 0.0, "betas": (0.7, 0.9)},
    "Adam": {"lr": 0.03},
    "SGD": {"lr": 0.2, "momentum": 0.5, "weight_decay": 0.0},
    "plain SGD": {"lr": 0.2, "weight_decay": 0.3},
}


class Half(nn.Module):
    """What an optimizer is made of before the rest joins."""

    def __init__(self, model: Net) -> None:
        super().__init__()
        self.second = model.second


def fresh(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net().double()


@situation(
    "Runs that change", "parameters that join the optimizer (add_param_group, record(later=...))", EXACT
)
@pytest.mark.parametrize("name", NEW)
def test_a_group_joins(tmp_path: Path, name: str) -> None:
    model = fresh()
    model.first.requires_grad_(False)
    optimizer = OPTIMIZERS[name](Half(model))

    def change(s: int) -> None:
        if s == 2:
            model.first.weight.requires_grad_(True)
            optimizer.add_param_group({"params": [model.first.weight], **NEW[name]})
        if s == 3:
            model.first.bias.requires_grad_(True)
            optimizer.add_param_group({"params": [model.first.bias]})
        if s == 4:
            optimizer.param_groups[1]["lr"] *= 0.5

    run = train(tmp_path / "run.zarr", model, optimizer, WHOLE, change, clip=0.3, later="first.*")
    assert [run.trajectory.step(s).active[0] for s in range(6)] == [False, False, True, True, True, True]
    assert len(run.trajectory.step(5).lr) == 3
    check(run)


def test_what_waits_may_already_have_gradients(tmp_path: Path) -> None:
    """Backward passes fill them although the optimizer does not hold the parameters yet."""
    model = fresh()
    optimizer = OPTIMIZERS["AdamW"](Half(model))

    def change(s: int) -> None:
        if s == 3:
            optimizer.add_param_group({"params": model.first.parameters(), "lr": 0.01})

    run = train(tmp_path / "run.zarr", model, optimizer, WHOLE, change, later="first.*")
    assert [run.trajectory.step(s).active[0] for s in range(6)] == [False] * 3 + [True] * 3
    check(run)


@situation(
    "Runs that change",
    "parameters that join the optimizer and were not announced",
    refused("name them in record(later=...)"),
)
def test_a_group_that_was_not_announced(tmp_path: Path) -> None:
    model = fresh()
    optimizer = OPTIMIZERS["SGD"](Half(model))

    def change(s: int) -> None:
        if s == 2:
            optimizer.add_param_group({"params": model.first.parameters()})

    with pytest.raises(RecordingError, match="joined the optimizer .* not announced.*later"):
        train(tmp_path / "run.zarr", model, optimizer, WHOLE, change)


def test_a_group_with_other_flags_and_a_resumption_are_refused(tmp_path: Path) -> None:
    model = fresh()
    optimizer = OPTIMIZERS["SGD"](Half(model))

    def change(s: int) -> None:
        if s == 2:
            optimizer.add_param_group({"params": model.first.parameters(), "nesterov": True, "dampening": 0})

    with pytest.raises(RecordingError, match="a group joined with another"):
        train(tmp_path / "run.zarr", model, optimizer, WHOLE, change, later="first.*")
    with pytest.raises(StoreError, match="join the optimizer later, and cannot be resumed"):
        train(
            tmp_path / "run.zarr", model, OPTIMIZERS["SGD"](Half(model)), WHOLE, later="first.*", resume=True
        )


@situation("Runs that change", "an optimizer whose state is emptied (optimizer.state.clear())", EXACT)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_emptied_state(tmp_path: Path, name: str) -> None:
    model = fresh()
    optimizer = OPTIMIZERS[name](model)

    def change(s: int) -> None:
        if s == 2:
            optimizer.state.clear()
        if s == 4:
            optimizer.state.pop(model.second.weight, None)

    run = train(tmp_path / "run.zarr", model, optimizer, WHOLE, change, clip=0.3)
    if name != "plain SGD":  # it has no state
        assert run.trajectory.step(2).reset == (0, 1, 2, 3) and run.trajectory.step(4).reset == (2,)
        assert run.trajectory.step(5).counts == (4, 4, 2, 4)
    check(run)


@pytest.mark.parametrize("name", ["AdamW", "SGD"])
def test_emptied_while_frozen_and_resumed_optimizers(tmp_path: Path, name: str) -> None:
    model = fresh()
    optimizer = OPTIMIZERS[name](model)
    for _ in range(2):  # a history from before the recording
        optimizer.zero_grad()
        F.cross_entropy(model(torch.randn(4, 3, dtype=torch.float64)), torch.arange(4) % 3).backward()
        optimizer.step()

    def change(s: int) -> None:
        model.first.requires_grad_(s not in (2, 3))
        if s == 2:
            optimizer.state.clear()

    run = train(tmp_path / "run.zarr", model, optimizer, WHOLE, change)
    check(run)


def test_a_run_with_an_emptied_state_is_resumed(tmp_path: Path) -> None:
    kept = []
    for stop in (None, 4):
        path, options = tmp_path / f"{stop}.zarr", {}

        def change(optimizer: torch.optim.Optimizer, stop: int | None = None) -> Callable[[int], None]:
            def changed(s: int) -> None:
                if s == 1:
                    optimizer.state.clear()
                if s == stop:
                    raise KeyboardInterrupt

            return changed

        model = fresh()
        optimizer = OPTIMIZERS["AdamW"](model)
        if stop is not None:
            with pytest.raises(KeyboardInterrupt):
                train(path, model, optimizer, WHOLE, change(optimizer, stop))
            model = fresh(5)
            optimizer, options = OPTIMIZERS["AdamW"](model), {"resume": True}
        kept.append(train(path, model, optimizer, WHOLE, change(optimizer), **options).trajectory)
    for s in range(7):
        assert torch.equal(kept[0].parameters(s), kept[1].parameters(s))
    assert kept[0].step(5).counts == kept[1].step(5).counts == (5, 5, 5, 5)


@situation(
    "Runs that change",
    "an emptied state of other optimizers than AdamW, Adam and SGD",
    refused("their counters are read of all tensors together"),
)
def test_other_optimizers_keep_their_state(tmp_path: Path) -> None:
    model = fresh()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01, momentum=0.5)
    with pytest.raises(RecordingError, match="state was changed before update 2"):
        train(
            tmp_path / "run.zarr", model, optimizer, WHOLE, lambda s: optimizer.state.clear() if s == 2 else None
        )  # fmt: skip


@situation("Runs that change", "a learning rate of zero in some updates", EXACT)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_learning_rate_of_zero(tmp_path: Path, name: str) -> None:
    model = fresh()
    optimizer = OPTIMIZERS[name](model)
    usual = optimizer.param_groups[0]["lr"]

    def change(s: int) -> None:
        optimizer.param_groups[0]["lr"] = 0.0 if s in (0, 3, 4) else usual

    run = train(tmp_path / "run.zarr", model, optimizer, WHOLE, change)
    assert explaind.verify(run.path, run.model, run.loss, train=run.train).attrs["passed"]
    check(run, decided=False)


class Looked(nn.Module):
    """Embeds the sign pattern of a sample: the gradient of the table has only the rows that were looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(8, 4, sparse=True)
        self.second = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = ((x > 0) * torch.tensor([1, 2, 4])).sum(-1)
        return self.second(torch.tanh(self.table(rows)))


SPARSE: dict[str, dict] = {
    "plain": {},
    "momentum": {"momentum": 0.9, "dampening": 0.2},
    "nesterov": {"momentum": 0.9, "nesterov": True},
}


@situation("The loop", "sparse gradients of embeddings, with SGD", EXACT)
@pytest.mark.parametrize("name", SPARSE)
def test_sparse_embeddings(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    model = Looked().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, **SPARSE[name])
    batches = [[0, 1, 2], [3, 4], [5, 6], [0, 0, 5], [1], [2, 6]]
    run = train(tmp_path / "run.zarr", model, optimizer, batches)
    assert model.table.weight.grad.layout == torch.sparse_coo
    found = explained(run, ("train", "test", "output"))
    run.model = copy.deepcopy(model)
    run.model.table.sparse = False  # the definition differentiates twice
    check(run)
    again = explained(run, ("train", "test", "output"))
    torch.testing.assert_close(
        torch.tensor(found.kernel.values), torch.tensor(again.kernel.values), rtol=0, atol=0
    )
    kept = run.trajectory

    def stop(s: int) -> None:
        if s == 5:
            raise KeyboardInterrupt

    torch.manual_seed(0)
    model = Looked().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, **SPARSE[name])
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "two.zarr", model, optimizer, batches, stop)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, **SPARSE[name])
    again = train(tmp_path / "two.zarr", model, optimizer, batches, resume=True).trajectory
    # A sparse buffer adds its entries up in the order in which they came, which is not recorded.
    rounding = 0.0 if name == "plain" else 1e-14
    torch.testing.assert_close(again.parameters(6), kept.parameters(6), rtol=rounding, atol=rounding)


def test_sparse_gradients_that_are_not_reset_are_refused(tmp_path: Path) -> None:
    model = Looked().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(4, 3, dtype=torch.float64)
    with (
        pytest.raises(RecordingError, match="update 1 contain those of the update before"),
        explaind.record(tmp_path / "run.zarr", model, optimizer) as run,
    ):
        for _ in range(2):
            F.cross_entropy(model(x), torch.arange(4) % 3).backward()
            run.batch(range(4))
            optimizer.step()


@situation(
    "The loop",
    "sparse gradients, with other optimizers than SGD",
    refused("build the embedding with sparse=False"),
)
def test_sparse_gradients_of_other_optimizers(tmp_path: Path) -> None:
    model = Looked().double()
    with pytest.raises(RecordingError, match="sparse gradient"):
        train(tmp_path / "run.zarr", model, torch.optim.Adagrad(model.parameters()), WHOLE)
