"""What cannot be recorded faithfully is refused, with the option's name in the sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recorded_runs import INPUTS, TARGETS, flat, mlp, trained
from torch import nn
from torch.nn.functional import cross_entropy

from explaind.attribution.record import record
from explaind.errors import ConfigError, RecordingError, StoreError, TrainingError
from explaind.recording import Trajectory


def one_update(model: nn.Module, optimizer: torch.optim.Optimizer, run: Any) -> None:
    optimizer.zero_grad()
    cross_entropy(model(INPUTS), TARGETS).backward()
    run.batch(range(40))
    optimizer.step()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: torch.optim.Rprop(p), "Rprop"),
        (lambda p: type("Mine", (torch.optim.SGD,), {})(p, lr=1), "Mine"),
        (lambda p: torch.optim.RMSprop(p, capturable=True), "capturable=True"),
        (lambda p: torch.optim.Adam(p, capturable=True), "capturable=True"),
        (lambda p: torch.optim.SGD(p, lr=0.1, differentiable=True), "differentiable=True"),
    ],
)
def test_optimizers(tmp_path: Path, make: Callable[[Any], torch.optim.Optimizer], words: str) -> None:
    model = mlp()
    with pytest.raises(RecordingError, match=words):
        record(tmp_path / "run.zarr", model, make(list(model.parameters())))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3, track_running_stats=False).eval()), "BatchNorm1d"),
        (nn.InstanceNorm1d(3, affine=True, track_running_stats=True), "InstanceNorm1d mixes"),
        (nn.Linear(5, 3).bfloat16(), "bfloat16"),
        (nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 3).double()), "several dtypes"),
        (nn.LazyLinear(3), "no shape yet"),
    ],
)
def test_models(tmp_path: Path, model: nn.Module, words: str) -> None:
    with pytest.raises(RecordingError, match=words):
        record(tmp_path / "run.zarr", model, torch.optim.SGD(model.parameters(), lr=0.1))


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.0), nn.InstanceNorm1d(3), nn.LayerNorm(3)),
        nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(5), nn.Linear(5, 3)).eval(),
    ],
)
def test_models_that_only_look_random_are_fine(tmp_path: Path, model: nn.Module) -> None:
    record(tmp_path / "run.zarr", model, torch.optim.SGD(model.parameters(), lr=0.1))


def test_a_parameter_outside_the_model_and_a_config_that_is_no_json(tmp_path: Path) -> None:
    model = mlp()
    optimizer = torch.optim.SGD([*model.parameters(), nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(RecordingError, match="1 parameters that are not in the model"):
        record(tmp_path / "run.zarr", model, optimizer)
    with pytest.raises(ConfigError, match="config given to record"):
        record(tmp_path / "run.zarr", model, torch.optim.SGD(model.parameters(), lr=0.1), config={"m": model})


def _argument(model: nn.Module, optimizer: torch.optim.Optimizer, run: Any) -> None:
    run.batch([0])
    optimizer.step(None, 1.0)


def _no_batch(model: nn.Module, optimizer: torch.optim.Optimizer, run: Any) -> None:
    cross_entropy(model(INPUTS), TARGETS).backward()
    optimizer.step()


def _edited(model: nn.Module, optimizer: torch.optim.Optimizer, run: Any) -> None:
    model[0].bias.data[0] += 1
    one_update(model, optimizer, run)


def _grown(model: nn.Module, optimizer: torch.optim.Optimizer, run: Any) -> None:
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})
    one_update(model, optimizer, run)


def _replaced(model: nn.Module, optimizer: torch.optim.Optimizer, run: Any) -> None:
    optimizer.param_groups[0]["params"][0] = nn.Parameter(model[0].weight.detach().clone())
    one_update(model, optimizer, run)


def _option(model: nn.Module, optimizer: torch.optim.Optimizer, run: Any) -> None:
    optimizer.param_groups[0]["maximize"] = True
    one_update(model, optimizer, run)


def _momentum(model: nn.Module, optimizer: torch.optim.Optimizer, run: Any) -> None:
    optimizer.param_groups[0]["momentum"] = 0.0
    one_update(model, optimizer, run)


def _buffer(model: nn.Module, optimizer: torch.optim.Optimizer, run: Any) -> None:
    model.mean += 1
    for _ in range(4):
        one_update(model, optimizer, run)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_argument, "an argument that is not in the recorded equations"),
        (_no_batch, "Update 2 has no batch"),
        (_edited, "changed between two updates"),
        (_grown, "joined the optimizer during recording"),
        (_replaced, "optimizer's parameters changed"),
        (_option, "on-off option"),
        (_momentum, "momentum of a group was switched"),
        (_buffer, "'mean' changed"),
    ],
)
def test_changes_during_recording(tmp_path: Path, change: Callable[..., None], words: str) -> None:
    model = mlp()
    model.register_buffer("mean", torch.zeros(1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    thetas = [flat(model)]
    with (
        pytest.raises(RecordingError, match=words),
        record(tmp_path / "run.zarr", model, optimizer, chunk_steps=3) as run,
    ):
        for _ in range(2):
            one_update(model, optimizer, run)
            thetas.append(flat(model))
        change(model, optimizer, run)
    assert not optimizer._optimizer_step_pre_hooks
    trajectory = Trajectory(tmp_path / "run.zarr")
    assert not trajectory.complete
    # Steps before the change are kept, unless a constant changed: then nobody knows when.
    assert trajectory.n_steps == (0 if change is _buffer else 2)
    assert all(torch.equal(trajectory.parameters(s), thetas[s]) for s in range(trajectory.n_steps + 1))


@pytest.mark.parametrize(
    ("indices", "weights", "words"),
    [
        ([], None, "non-empty"),
        ([0.5], None, "integers"),
        (torch.ones(40, dtype=torch.bool), None, "not the samples or a mask"),
        ([[1, 2]], None, "1-D"),
        ([0, -1], None, "negative"),
        ([0, 1], [1.0], "2 numbers"),
        ([0, 1], float("nan"), "not finite"),
    ],
)
def test_batches(tmp_path: Path, indices: Any, weights: Any, words: str) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(RecordingError, match=words), record(tmp_path / "a.zarr", model, optimizer) as run:
        run.batch(indices, weights)
    assert list(tmp_path.iterdir()) == []


def test_divergence_names_step_and_parameter(tmp_path: Path) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with (
        pytest.raises(TrainingError, match=r"Parameter 2.bias is no longer finite after update 5"),
        record(tmp_path / "run.zarr", model, optimizer, chunk_steps=4) as run,
    ):
        for step in range(10):
            optimizer.zero_grad()
            cross_entropy(model(INPUTS), TARGETS).backward()
            if step == 5:
                model[2].bias.grad[1] = torch.nan
            run.batch(range(40))
            optimizer.step()
    trajectory = Trajectory(tmp_path / "run.zarr")
    trajectory.verify()
    assert (trajectory.n_steps, trajectory.complete) == (5, False)


def test_one_recorder_per_store(tmp_path: Path) -> None:
    model, other = mlp(), mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    second = record(tmp_path / "a.zarr", other, torch.optim.SGD(other.parameters(), lr=0.1), overwrite=True)
    with record(tmp_path / "a.zarr", model, optimizer) as run:
        one_update(model, optimizer, run)
        with pytest.raises(RecordingError, match="Another recorder is writing"), second:
            pass
        one_update(model, optimizer, run)
    assert Trajectory(tmp_path / "a.zarr").n_steps == 2


def test_nothing_is_replaced_unasked_and_only_recordings_are_replaced(tmp_path: Path) -> None:
    trained(tmp_path / "run.zarr", 5)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(StoreError, match="resume=True"), record(tmp_path / "run.zarr", model, optimizer):
        pass
    assert Trajectory(tmp_path / "run.zarr").n_steps == 5
    with record(tmp_path / "run.zarr", model, optimizer, overwrite=True) as run:
        one_update(model, optimizer, run)
    assert Trajectory(tmp_path / "run.zarr").n_steps == 1
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "draft.txt").write_text("all my work")
    for how in ({"overwrite": True}, {"resume": True}):
        with (
            pytest.raises(StoreError, match="There is no trajectory store"),
            record(tmp_path / "thesis", model, optimizer, **how),
        ):
            pass
    assert (tmp_path / "thesis" / "draft.txt").read_text() == "all my work"
