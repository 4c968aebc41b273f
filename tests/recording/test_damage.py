"""Damage to a recorded run is an error that names the place, never a wrong number."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from recorded_runs import mlp, store_files, trained
from torch import nn

from explaind.errors import StoreError
from explaind.recording import Trajectory
from explaind.store import StoredArray


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("damage") / "run.zarr"
    trained(path)
    return path


def read_everything(path: Path) -> None:
    Trajectory(path).verify()


def test_every_file_every_kind_of_damage(recorded: Path) -> None:
    generator = np.random.default_rng(0)
    read_everything(recorded)
    files = [file for file in store_files(recorded) if not file.name.startswith("resume")]
    assert len(files) > 30
    for file in files:
        intact = file.read_bytes()
        for _ in range(3):
            damaged = bytearray(intact)
            damaged[generator.integers(len(intact))] ^= 1 << generator.integers(8)
            file.write_bytes(bytes(damaged))
            with pytest.raises(StoreError):
                read_everything(recorded)
        file.write_bytes(intact[: len(intact) // 2])
        with pytest.raises(StoreError):
            read_everything(recorded)
        file.unlink()
        with pytest.raises(StoreError):
            read_everything(recorded)
        file.write_bytes(intact)
    read_everything(recorded)


def test_damage_names_array_and_steps_and_spares_the_rest(recorded: Path) -> None:
    file = recorded / "parameters" / "c" / "1" / "0"
    intact = file.read_bytes()
    file.unlink()
    trajectory = Trajectory(recorded)
    trajectory.parameters(4)
    trajectory.second_moment(5)
    with pytest.raises(StoreError, match=r"Rows 4 to 8 of array 'parameters'.*missing"):
        trajectory.parameters(5)
    file.write_bytes((recorded / "parameters" / "c" / "0" / "0").read_bytes())  # sound, but another chunk
    with pytest.raises(StoreError, match=r"updates 4 to 8 of array 'parameters'.*CRC-32C"):
        Trajectory(recorded).parameters(5)
    file.write_bytes(intact)


def test_another_schema_version(recorded: Path) -> None:
    manifest = recorded / "manifest.json"
    intact = manifest.read_text()
    manifest.write_text(json.dumps({**json.loads(intact), "schema_version": 99}))
    with pytest.raises(StoreError, match=r"Expected: version 3. Got: version 99"):
        Trajectory(recorded)
    manifest.write_text(intact)


def test_steps_that_do_not_exist_and_paths_that_do_not_exist(recorded: Path, tmp_path: Path) -> None:
    trajectory = Trajectory(recorded)
    for read, s in ((trajectory.parameters, 11), (trajectory.step, 10), (trajectory.second_moment, -1)):
        with pytest.raises(StoreError, match="no such step"):
            read(s)
    with pytest.raises(StoreError, match="There is no trajectory store"):
        Trajectory(tmp_path / "nowhere.zarr")
    trained(tmp_path / "sgd.zarr", 2, optimizer="SGD")
    with pytest.raises(StoreError, match="no second moment"):
        Trajectory(tmp_path / "sgd.zarr").second_moment(0)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)),
            r"'0.weight' differs.*\(7, 5\).*\(8, 5\)",
        ),
        (nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3, bias=False)), "Got: no such parameter"),
        (
            nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3), nn.PReLU()),
            "Expected: no such parameter",
        ),
        (mlp(torch.float64), r"torch.float32. Got: .*torch.float64"),
    ],
)
def test_another_model(recorded: Path, model: nn.Module, words: str) -> None:
    with pytest.raises(StoreError, match=words):
        Trajectory(recorded).check_model(model)


def test_a_torn_journal_line_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "run.zarr"
    with pytest.raises(KeyboardInterrupt):
        trained(path, 20, schedule=_interrupt_at(10))
    with (path / "journal.jsonl").open("ab") as stream:
        stream.write(b'{"check":12,"commit":{"start":10,')
    trajectory = Trajectory(path)
    assert (trajectory.n_steps, trajectory.complete) == (10, False)
    trajectory.verify()


def _interrupt_at(last: int):
    def schedule(step: int) -> float:
        if step == last:
            raise KeyboardInterrupt
        return 1.0

    return schedule


FULL_DISK = """
import resource, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from recorded_runs import trained
from explaind.errors import StoreError
resource.setrlimit(resource.RLIMIT_FSIZE, (12000, 12000))
try:
    trained(Path({path!r}), 200)
except StoreError as error:
    print(error)
    sys.exit(2)
"""


def test_a_full_disk_is_said_and_what_was_committed_stays(tmp_path: Path) -> None:
    """A limit on the size of a file stands in for a full disk: it stops the journal in the middle of a line."""
    path = tmp_path / "run.zarr"
    code = FULL_DISK.format(tests=str(Path(__file__).parent), path=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "stays readable up to its last commit. Got: [Errno 27] File too large" in done.stdout
    trajectory = Trajectory(path)
    trajectory.verify()
    assert 0 < trajectory.n_steps < 200
    assert not trajectory.complete


def test_no_space_for_the_store_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("explaind.recording.creation.write_manifest", full)
    with pytest.raises(StoreError, match="No space left on device"):
        trained(tmp_path / "run.zarr", 3)


def test_no_space_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(array: StoredArray, start: int, rows: np.ndarray) -> None:
        if array.path.name == "parameters" and start >= 8:
            raise OSError(28, "No space left on device")
        original(array, start, rows)

    original = StoredArray.write_rows
    monkeypatch.setattr(StoredArray, "write_rows", write)
    with pytest.raises(StoreError, match=r"stays readable.*No space left on device"):
        trained(tmp_path / "run.zarr", 30)
    trajectory = Trajectory(tmp_path / "run.zarr")
    trajectory.verify()
    assert (trajectory.n_steps, trajectory.complete) == (8, False)
