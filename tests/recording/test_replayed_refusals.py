"""What a small recording does not hold, and cannot make again: refused where it happens, or before anything is explained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import explaind
from explaind.errors import ConfigError, LedgerError, QueryError, RecordingError, StoreError, TrainingError
from tests.recording.recorded_runs import INPUTS, TARGETS, mlp
from tests.recording.small_runs import (
    STEPS,
    TRAIN,
    WRONG,
    both,
    explained,
    recorded,
    rounded,
)
from tests.situations import refused, situation


@situation(
    "Recordings",
    "small ones, with another loss, model or data than the run's",
    refused("the updates cannot be made again"),
)
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_loss_is_refused(tmp_path: Path, name: str) -> None:
    loss, words = WRONG[name]
    small = recorded(tmp_path / "small.zarr", keep="replay", every=4)
    with pytest.raises(LedgerError, match=words):
        explained(small, loss)
    with pytest.raises(LedgerError, match=words):
        explaind.verify(small, mlp(), loss, train=TRAIN)
    with pytest.raises(LedgerError):
        explained(small, train=(INPUTS.flip(0), TARGETS))


def test_other_bits_are_measured(tmp_path: Path) -> None:
    full, small = both(tmp_path, 4)
    given, expected = explained(small, rounded), explained(full)
    assert 0 < given.attrs["remade_difference"] < 1e-4
    assert given.attrs["remade_same_bits"] < given.attrs["remade"]
    total = given["kernel"] + given["regularization"]
    error = given["initial"] + total.sum(("step", "layer")) + given["residual"].sum("step") - given["final"]
    assert float(abs(error).max()) < 1e-5
    assert given["kernel"].values == pytest.approx(expected["kernel"].values, rel=1e-2, abs=1e-4)
    assert (given["final"].values == expected["final"].values).all()


def test_without_what_makes_updates_again(tmp_path: Path) -> None:
    small = recorded(tmp_path / "small.zarr", keep="replay", every=4)
    for given in ({"train": None}, {"loss": None}):
        with pytest.raises(QueryError, match=r"one state in 4 updates.*Pass train"):
            explained(small, **given)
    trajectory = explaind.Trajectory(small)
    assert trajectory.kept.steps == (0, 4, 8, STEPS)
    trajectory.parameters(8), trajectory.parameters(STEPS), trajectory.step(5), trajectory.metrics()
    with pytest.raises(StoreError, match=r"keeps one state in 4 updates.*pass model, loss_fn and train"):
        trajectory.parameters(9)
    with pytest.raises(StoreError, match=r"keeps one state in 4 updates"):
        trajectory.second_moment(3)


def test_damage_is_found(tmp_path: Path) -> None:
    small = recorded(tmp_path / "small.zarr", keep="replay", every=4)
    explaind.Trajectory(small).verify()
    for file in sorted((small / "states").iterdir()):
        intact = file.read_bytes()
        for damaged in (
            intact[:200] + bytes([intact[200] ^ 1]) + intact[201:],
            intact[: len(intact) // 2],
            None,
        ):
            file.unlink() if damaged is None else file.write_bytes(damaged)
            with pytest.raises(StoreError, match="kept state"):
                explaind.Trajectory(small).verify()
            with pytest.raises(StoreError, match="kept state"):
                explained(small)
        file.write_bytes(intact)
    explained(small)


def test_what_is_refused_when_recording(tmp_path: Path) -> None:
    model = mlp()

    def record(optimizer: torch.optim.Optimizer | None = None, **how: Any) -> Any:
        made = optimizer or torch.optim.AdamW(model.parameters())
        return explaind.record(tmp_path / "run.zarr", model, made, **{"keep": "replay", **how})

    with pytest.raises(ConfigError, match=r"keep states.*'all' or 'replay'.*'some'"):
        record(keep="some")
    for every in (0, 2.5, True):
        with pytest.raises(ConfigError, match="whole number"):
            record(every=every)
    with pytest.raises(RecordingError, match="option lr of parameter group 0"):
        record(torch.optim.AdamW(model.parameters(), lr=torch.tensor(0.1)))

    class Lion(torch.optim.Optimizer):
        def __init__(self) -> None:
            super().__init__(model.parameters(), {"lr": 0.1, "betas": (0.9, 0.99), "weight_decay": 0.0})

    with pytest.raises(RecordingError, match=r"optimizer Lion cannot.*optimizer of torch\.optim"):
        record(Lion())
    assert not (tmp_path / "run.zarr").exists()


def by_value(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    nn.utils.clip_grad_value_(model.parameters(), 1e-3)


def noise(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for parameter in model.parameters():
        parameter.grad += 1e-3


def alpha(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.param_groups[0]["alpha"] = 0.5


@situation(
    "Recordings",
    "small ones, with gradients that are changed other than by a factor, such as clipped by value",
    refused("the update cannot be made again"),
)
@pytest.mark.parametrize("change", [by_value, noise, alpha])
def test_an_update_that_cannot_be_made_again_is_refused_where_it_happens(
    tmp_path: Path, change: Callable[[nn.Module, torch.optim.Optimizer], None]
) -> None:
    model = mlp()
    optimizer = torch.optim.RMSprop(model.parameters())
    with (
        pytest.raises(RecordingError, match=r"update 2.*keep=\"replay\""),
        explaind.record(tmp_path / "run.zarr", model, optimizer, keep="replay", every=4) as run,
    ):
        for step in range(4):
            optimizer.zero_grad()
            cross_entropy(model(INPUTS), TARGETS).backward()
            run.batch(range(len(INPUTS)))
            if step == 2:
                change(model, optimizer)
            optimizer.step()


@situation(
    "Recordings", 'a penalty with keep="replay"', refused("updates are made again from their batches alone")
)
def test_penalties_are_refused(tmp_path: Path) -> None:
    model = mlp()
    with (
        pytest.raises(RecordingError, match="penalty cannot be recorded"),
        explaind.record(
            tmp_path / "run.zarr", model, torch.optim.SGD(model.parameters(), lr=0.1), keep="replay"
        ) as run,
    ):
        run.penalty(lambda module: sum(p.abs().sum() for p in module.parameters()))


def test_gradients_that_are_not_finite(tmp_path: Path) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with (
        pytest.raises(TrainingError, match="no longer finite after update 0"),
        explaind.record(tmp_path / "run.zarr", model, optimizer, keep="replay") as run,
    ):
        (cross_entropy(model(INPUTS), TARGETS) * float("nan")).backward()
        run.batch(range(len(INPUTS)))
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert explaind.Trajectory(tmp_path / "run.zarr").n_steps == 0
