"""The views of a batch (which mirror image, which offset) are kept with its samples, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recorded_runs import INPUTS, TARGETS, mlp, trained
from torch import Tensor
from torch.nn.functional import cross_entropy

from explaind.attribution.record import record
from explaind.errors import RecordingError, StoreError
from explaind.recording import Recorder, Trajectory
from explaind.recording.steps import MicroBatch, micro_batch

Batch = tuple[Any, Any, Any]  # indices, weights, views, as `Recorder.batch` takes them


def mixed(steps: int) -> list[list[Batch]]:
    """Ragged batches, one to three an update: with views, without, with both weights and views."""
    generator = np.random.default_rng(0)
    found = []
    for step in range(steps):
        size = int(generator.integers(1, 40)) if step % 3 else 3000
        indices = generator.integers(40, size=size)
        views = generator.integers(-5, 1 << 40, size=size)
        kinds: list[Batch] = [
            (indices, None, views),
            (indices[:1], 0.25, None),
            (indices, generator.normal(size=size), views[::-1].copy()),
            (indices[:2], None, views[:2] % 2 == 1),
        ]
        found.append([kinds[(step + i) % 4] for i in range(1 + step % 3)])
    return found


def run_through(
    recorder: Recorder, batches: list[list[Batch]], model: torch.nn.Module, optimizer: Any
) -> None:
    for batch in batches:
        optimizer.zero_grad()
        cross_entropy(model(INPUTS), TARGETS).backward()
        for indices, weights, views in batch:
            recorder.batch(indices, weights, views=views)
        optimizer.step()


def assert_kept(found: tuple[MicroBatch, ...], batch: list[Batch]) -> None:
    assert len(found) == len(batch)
    for micro, (indices, weights, views) in zip(found, batch, strict=True):
        assert micro.indices.tolist() == list(indices)
        kept = micro.weights.tolist() if isinstance(micro.weights, Tensor) else micro.weights
        assert kept == (weights.tolist() if isinstance(weights, np.ndarray) else weights)
        if views is None:
            assert micro.views is None
        else:
            assert micro.views.dtype == torch.int64
            assert micro.views.tolist() == [int(view) for view in views]


def test_views_of_ragged_batches_come_back(tmp_path: Path) -> None:
    batches, model = mixed(9), mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with record(tmp_path / "run.zarr", model, optimizer, chunk_steps=2) as recorder:
        run_through(recorder, batches, model, optimizer)
    trajectory = Trajectory(tmp_path / "run.zarr", cached_chunks=1)
    trajectory.verify()
    assert trajectory.has_views
    for step in (*range(9), *reversed(range(9))):
        assert_kept(trajectory.step(step).batches, batches[step])


def test_a_run_without_views_says_so(tmp_path: Path) -> None:
    trained(tmp_path / "run.zarr", 5)
    trajectory = Trajectory(tmp_path / "run.zarr")
    assert not trajectory.has_views
    assert all(batch.views is None for step in range(5) for batch in trajectory.step(step).batches)


def test_one_view_in_one_update_is_noticed(tmp_path: Path) -> None:
    batches: list[list[Batch]] = [[(range(4), None, None)]] * 5 + [[([7], None, None), ([3], None, [2])]]
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with record(tmp_path / "run.zarr", model, optimizer, chunk_steps=4) as recorder:
        run_through(recorder, batches, model, optimizer)
    trajectory = Trajectory(tmp_path / "run.zarr")
    assert trajectory.has_views
    assert_kept(trajectory.step(5).batches, batches[5])


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        ([True, False, True], [1, 0, 1]),
        (torch.tensor([0, 1, 1], dtype=torch.bool), [0, 1, 1]),
        (np.array([3, -2, 1 << 62]), [3, -2, 1 << 62]),
        (torch.tensor([1, 2, 3], dtype=torch.uint8), [1, 2, 3]),
        (range(3), [0, 1, 2]),
        ((0, 0, 0), [0, 0, 0]),
    ],
)
def test_views_are_whole_numbers_or_truth_values(views: Any, expected: list[int]) -> None:
    kept = micro_batch([5, 6, 5], None, views).views
    assert kept.dtype == torch.int64
    assert kept.tolist() == expected


def test_a_buffer_that_is_used_again_does_not_change_what_was_named() -> None:
    views = torch.tensor([1, 0])
    kept = micro_batch([5, 6], None, views).views
    views.fill_(9)
    assert kept.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("views", "got"),
    [
        ([1, 0], r"shape \(2,\)"),
        ([1, 0, 1, 0], r"shape \(4,\)"),
        ([], r"shape \(0,\)"),
        (1, r"shape \(\)"),
        ([[1, 0, 1]], r"shape \(1, 3\)"),
        ([0.5, 0.0, 1.0], "torch.float"),
        (torch.ones(3), "torch.float32"),
        (np.ones(3, dtype=np.complex64), "torch.complex64"),
    ],
)
def test_views_that_do_not_fit_their_samples_are_refused(tmp_path: Path, views: Any, got: str) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with record(tmp_path / "run.zarr", model, optimizer) as recorder:
        with pytest.raises(RecordingError, match=f"views of a batch do not fit.*3 whole numbers.*{got}"):
            recorder.batch([5, 6, 7], views=views)
        run_through(recorder, [[([5, 6, 7], None, [1, 0, 1])]], model, optimizer)
    (batch,) = Trajectory(tmp_path / "run.zarr").step(0).batches
    assert batch.views.tolist() == [1, 0, 1], "what was refused is not in the batch"


class Stopped(Exception):
    pass


@pytest.mark.parametrize("first", [2, 5, 6])
def test_a_resumed_run_keeps_the_views(tmp_path: Path, first: int) -> None:
    batches, path = mixed(9), tmp_path / "run.zarr"
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters())
    with pytest.raises(Stopped), record(path, model, optimizer, chunk_steps=2) as recorder:
        run_through(recorder, batches[:first], model, optimizer)
        raise Stopped
    assert Trajectory(path).has_views
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters())
    with record(path, model, optimizer, chunk_steps=2, resume=True) as recorder:
        assert recorder.step == first // 2 * 2
        run_through(recorder, batches[recorder.step :], model, optimizer)
    trajectory = Trajectory(path)
    trajectory.verify()
    for step, batch in enumerate(batches):
        assert_kept(trajectory.step(step).batches, batch)


def test_views_that_were_damaged_on_disk_are_noticed(tmp_path: Path) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with record(tmp_path / "run.zarr", model, optimizer, chunk_steps=2) as recorder:
        run_through(recorder, mixed(3), model, optimizer)
    (folder,) = (path for path in (tmp_path / "run.zarr").iterdir() if "view" in path.name)
    chunk = next(path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".json")
    raw = bytearray(chunk.read_bytes())
    raw[len(raw) // 2] ^= 1
    chunk.write_bytes(bytes(raw))
    with pytest.raises(StoreError):
        Trajectory(tmp_path / "run.zarr").verify()
