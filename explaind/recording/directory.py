"""The directory of a recording: locked by one recorder, emptied only if it holds a recording, marked as complete at the end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from explaind.errors import RecordingError, StoreError
from explaind.recording.schema import JOURNAL, KIND, RAGGED
from explaind.recording.trajectory import Trajectory
from explaind.recording.verify import file_digests
from explaind.store import StoredArray, read_manifest, write_manifest

LOCK = ".lock"


def unwritable(path: Path, error: OSError) -> StoreError:
    """A full disk, a missing permission: the error for the user."""
    return StoreError(
        f"The trajectory {path} could not be written; it stays readable up to its last commit",
        got=str(error),
        remedy="make room on the disk, then record again with resume=True",
    )


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's errors inside the block into a StoreError."""
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


class Directory:
    """A path and the lock that allows to write there.

    Args:
        path: the store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / LOCK, timeout=0)

    def lock(self, *, overwrite: bool, resume: bool) -> None:
        """Lock the directory; it is then empty, or holds a recording to continue.

        Raises:
            RecordingError: another recorder holds it.
            StoreError: something is there and neither `overwrite` nor `resume` allows to touch it, or it is no
                recording at all.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise RecordingError(
                f"Another recorder is writing {self.path}",
                expected="one recorder per store",
                remedy="choose another path, or wait until it has finished",
            ) from error
        try:
            self._make_room(overwrite=overwrite, resume=resume)
        except BaseException:
            self.release()
            raise

    def empty(self) -> None:
        """Remove the old recording."""
        for entry in self._entries():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def complete(self, arrays: dict[str, StoredArray], steps: int, *, dropped: int) -> None:
        """Trim the arrays to the recorded updates and mark the manifest as complete.

        Args:
            arrays: the growing arrays, by name.
            steps: recorded updates.
            dropped: batches that were announced and entered none of them.
        """
        trajectory = Trajectory(self.path)
        rows = dict.fromkeys(arrays, steps) | {"rng_state": -(-steps // trajectory.chunk_steps)}
        rows |= {name: trajectory.used_entries()[name] for name in RAGGED}
        for name, array in arrays.items():
            array.trim(rows[name])
        write_manifest(
            self.path,
            {
                **trajectory.manifest,
                "complete": True,
                "batches_without_update": dropped,
                "files": file_digests(self.path),
            },
            kind=KIND,
        )

    def release(self) -> None:
        """Release the lock; a directory in which nothing was recorded is removed."""
        if self._lock.is_locked and not self._entries():
            (self.path / LOCK).unlink(missing_ok=True)
            self.path.rmdir()
        self._lock.release()

    def _make_room(self, *, overwrite: bool, resume: bool) -> None:
        if not self._entries():
            return
        if not (overwrite or resume):
            raise StoreError(
                f"There is something at {self.path} already",
                expected="a new path",
                remedy="pass resume=True to continue a recording, overwrite=True to replace it, or another path",
            )
        # The journal is written first: a recording that was killed while it was created has no more, or only the beginning of it.
        begun = any((self.path / name).exists() for name in (JOURNAL, f"{JOURNAL}.partial"))
        if not begun:
            read_manifest(
                self.path, KIND
            )  # raises: what has neither journal nor manifest is no recording, so it is not removed
        if overwrite or not (self.path / "manifest.json").exists():
            self.empty()

    def _entries(self) -> list[Path]:
        return [entry for entry in self.path.iterdir() if entry.name != LOCK]
