"""A run that was killed and resumed is, bit for bit, the run that was never interrupted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from recorded_runs import Run, flat, mlp, optimizer_state, trained

from explaind.attribution.record import record
from explaind.errors import StoreError
from explaind.recording import Trajectory

TRAIN = """
import sys
sys.path.insert(0, {tests!r})
import time, torch
from pathlib import Path
from recorded_runs import Run, mlp
from explaind.attribution.record import record

def slowly(step):
    time.sleep(0.004)
    return 1.0

model = mlp()
optimizer = getattr(torch.optim, {optimizer!r})(model.parameters(), lr=0.05, **{options!r})
torch.manual_seed(7)
with record(Path({path!r}), model, optimizer, chunk_steps=4, resume=True) as recorder:
    Run(model, optimizer, schedule=slowly).train(10_000, recorder, start=recorder.step)
"""


def resumed(
    path: Path, steps: int, optimizer: str, options: dict[str, Any], seed: int = 99
) -> tuple[Run, int]:
    """Continue in this process, from a model and a generator that are deliberately wrong."""
    model = mlp()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.123)
    made = getattr(torch.optim, optimizer)(model.parameters(), lr=0.05, **options)
    torch.manual_seed(seed)
    with record(path, model, made, chunk_steps=4, resume=True) as recorder:
        start = recorder.step
        return Run(model, made).train(steps, recorder, start=start), start


def assert_same_run(path: Path, run: Run, whole: Run) -> None:
    trajectory = Trajectory(path)
    trajectory.verify()
    assert trajectory.complete
    assert trajectory.n_steps == len(whole.thetas) - 1
    for step, theta in enumerate(whole.thetas):
        assert torch.equal(trajectory.parameters(step), theta), step
    for mine, theirs in zip(optimizer_state(run.optimizer), optimizer_state(whole.optimizer), strict=True):
        assert torch.equal(mine, theirs)
    seen = [batch.indices for s in range(trajectory.n_steps) for batch in trajectory.step(s).batches]
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(seen, whole.indices, strict=True))
    assert trajectory.metrics().step.tolist() == list(range(trajectory.n_steps))


def test_killed_and_resumed(tmp_path: Path) -> None:
    optimizer, options = "AdamW", {"weight_decay": 0.1}
    path = tmp_path / "run.zarr"
    code = TRAIN.format(
        tests=str(Path(__file__).parent), optimizer=optimizer, options=options, path=str(path)
    )
    reached = -1
    for _ in range(2):  # the second process resumes what the first left, and is killed as well
        process = subprocess.Popen([sys.executable, "-c", code])
        deadline = time.monotonic() + 40
        while _committed(path) < reached + 14:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        reached = _committed(path)
        Trajectory(path).verify()
    run, start = resumed(path, reached + 9, optimizer, options)
    assert start == reached
    assert_same_run(path, run, trained(None, reached + 9, optimizer=optimizer, options=options))


def _committed(path: Path) -> int:
    try:
        return Trajectory(path).n_steps
    except StoreError:
        return 0


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        ("AdamW", {"fused": True}),
        ("Adam", {"weight_decay": 0.1, "foreach": False}),
        ("SGD", {}),
        ("SGD", {"momentum": 0.9, "dampening": 0.1}),
    ],
)
@pytest.mark.parametrize("first", [3, 4, 10])
def test_interrupted_and_resumed(tmp_path: Path, optimizer: str, options: dict[str, Any], first: int) -> None:
    path = tmp_path / "run.zarr"
    trained(path, first, optimizer=optimizer, options=options)
    run, start = resumed(path, 15, optimizer, options, seed=7 if first == 3 else 99)
    assert start == first // 4 * 4
    if first == 3:  # shorter than a chunk: nothing to continue, training starts afresh from the given model
        assert Trajectory(path).n_steps == 15
        assert torch.equal(Trajectory(path).parameters(0), torch.full_like(flat(mlp()), 0.123))
    else:
        assert_same_run(path, run, trained(None, 15, optimizer=optimizer, options=options))


def test_resuming_a_run_that_never_began(tmp_path: Path) -> None:
    _, start = resumed(tmp_path / "new.zarr", 5, "AdamW", {})
    assert start == 0
    half = tmp_path / "half.zarr"  # killed while the store was being created
    shutil.copytree(tmp_path / "new.zarr", half)
    (half / "manifest.json").unlink()
    _, start = resumed(half, 5, "AdamW", {})
    assert start == 0
    Trajectory(half).verify()


@pytest.mark.parametrize("left", ["journal.jsonl.partial", "journal.jsonl"])
def test_a_recording_that_was_killed_while_it_was_created_begins_again(tmp_path: Path, left: str) -> None:
    """Nothing else is in its folder then; a folder with anything else is no recording, and stays as it is."""
    for overwrite in (True, False):
        path = tmp_path / f"{left}-{overwrite}.zarr"
        path.mkdir()
        (path / left).touch()
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        with record(path, model, optimizer, overwrite=overwrite, resume=not overwrite) as recorder:
            Run(model, optimizer).train(3, recorder)
        assert Trajectory(path).n_steps == 3
    foreign = tmp_path / "notes"
    foreign.mkdir()
    (foreign / "thesis.txt").touch()
    with pytest.raises(StoreError), record(foreign, model, optimizer, overwrite=True):
        pass
    assert (foreign / "thesis.txt").exists()


def test_a_damaged_resume_point_falls_back_to_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "run.zarr"
    trained(path, 12)
    slot = path / "resume-0.bin"
    damaged = bytearray(slot.read_bytes())
    damaged[40] ^= 1
    slot.write_bytes(bytes(damaged))
    run, start = resumed(path, 15, "AdamW", {})
    assert start == 8
    assert_same_run(path, run, trained(None, 15))


def test_another_model_or_optimizer_cannot_continue(tmp_path: Path) -> None:
    path = tmp_path / "run.zarr"
    trained(path, 8)
    wider = torch.nn.Linear(5, 3)
    cases = [
        (wider, torch.optim.AdamW(wider.parameters()), "'0.weight' differs"),
        ((model := mlp()), torch.optim.SGD(model.parameters(), lr=0.1), "another optimizer"),
        (
            (model := mlp()),
            torch.optim.AdamW([{"params": model[2].parameters()}, {"params": model[0].parameters()}]),
            "groups",
        ),
    ]
    for other, optimizer, words in cases:
        before = flat(other)
        with pytest.raises(StoreError, match=words), record(path, other, optimizer, resume=True):
            pass
        assert torch.equal(flat(other), before)
    assert Trajectory(path).complete
