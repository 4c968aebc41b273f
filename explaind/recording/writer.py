"""Write chunks of updates to disk in one background thread.

Two chunks exist: one is filled by the training loop while the other is written, so memory is flat. If the disk is
slower than training, training waits. An error in the thread is raised in the training loop at the next chunk.
"""

from __future__ import annotations

import queue
import threading
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from explaind.errors import ExplaindError, StoreError
from explaind.recording import journal, statistics
from explaind.recording.directory import unwritable
from explaind.recording.journal import Commit
from explaind.recording.kept import write_state
from explaind.recording.resume import ResumePoint, write_point
from explaind.recording.schema import JOURNAL, PER_STEP, RAGGED
from explaind.recording.steps import MicroBatch
from explaind.store import ArraySpec, StoredArray, crc32c


class Chunk:
    """Room for `chunk_steps` updates, in memory.

    Attributes:
        arrays: per-step arrays by name, [chunk_steps, ...]; the first `rows` are filled.
        real: torch views of the arrays with a parameter axis.
        batches, clip, metrics: one entry per filled row.
        cut: per filled row, tensor of θ → its factor of every entry, where it was clipped entry by entry.
        reset: per filled row, the tensors of θ whose state was empty again before it.
        penalty: per filled row, the weight of the announced penalty.
        paused: had a tensor of θ no gradient in one of the rows?
        statistics: running statistics after the last row, by name.
        rng: the generator's state at the start of the chunk.
        point: what resuming after this chunk needs; None for a chunk that is not full.
        states: with keep="replay", what is kept of the run between two updates, by the number of the update that follows.
    """

    def __init__(self, specs: tuple[ArraySpec, ...]) -> None:
        own = [spec for spec in specs if spec.name in PER_STEP]
        self.arrays = {
            spec.name: np.zeros((spec.chunks[0], *spec.shape[1:]), dtype=spec.dtype) for spec in own
        }
        self.real = {spec.name: torch.from_numpy(self.arrays[spec.name]) for spec in own if spec.transpose}
        self.begin(0, torch.empty(0, dtype=torch.uint8))

    @property
    def full(self) -> bool:
        return self.rows == self.capacity

    @property
    def capacity(self) -> int:
        return len(self.arrays["hyperparameters"])

    def begin(self, start: int, rng: Tensor) -> None:
        """Empty the chunk; its first row will be update `start`."""
        self.start = start
        self.rows = 0
        self.rng = rng
        self.batches: list[tuple[MicroBatch, ...]] = []
        self.clip: list[tuple[float, bool]] = []
        self.cut: list[dict[int, Tensor]] = []
        self.penalty: list[float] = []
        self.reset: list[list[int]] = []
        self.metrics: list[dict[str, float]] = []
        self.point: ResumePoint | None = None
        self.paused = False
        self.statistics: dict[str, Tensor] = {}
        self.states: dict[int, bytes] = {}


class Writer:
    """Commits chunks in order.

    Args:
        store: directory of the trajectory.
        arrays: its growing arrays, by name.
        specs: their descriptions.
        used: entries of each ragged array that are in use already (after resuming).
    """

    def __init__(
        self, store: Path, arrays: dict[str, StoredArray], specs: tuple[ArraySpec, ...], used: dict[str, int]
    ) -> None:
        self._store = store
        self._arrays = arrays
        self._used = used
        self._error: BaseException | None = None
        self._free: queue.Queue[Chunk] = queue.Queue()
        for _ in range(2):
            self._free.put(Chunk(specs))
        self._todo: queue.Queue[Chunk | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="explaind-writer", daemon=True)
        self._thread.start()

    def take(self) -> Chunk:
        """An empty chunk, as soon as there is one."""
        chunk = self._free.get()
        self._raise()
        return chunk

    def put(self, chunk: Chunk) -> None:
        """Queue a filled chunk for writing; it must not be changed any more."""
        self._todo.put(chunk)

    def close(self) -> None:
        """Wait until everything is on disk."""
        self._todo.put(None)
        self._thread.join()
        self._raise()

    def abandon(self) -> None:
        """Let the thread end after the chunks it has; nothing is raised."""
        self._todo.put(None)
        self._thread.join()

    def _raise(self) -> None:
        error = self._error
        if isinstance(error, OSError):
            raise unwritable(self._store, error) from error
        if isinstance(error, ExplaindError):
            raise error
        if error is not None:
            raise StoreError(f"The trajectory {self._store} could not be written", got=repr(error)) from error

    def _run(self) -> None:
        while (chunk := self._todo.get()) is not None:
            if self._error is None:  # after a failure nothing may follow, or the journal would have a gap
                try:
                    self.commit(chunk)
                except BaseException as error:
                    self._error = error
            self._free.put(chunk)

    def commit(self, chunk: Chunk) -> None:
        """Write the filled rows of a chunk, and its line of the journal."""
        rows = chunk.rows
        crc, blocks = {}, {}
        for name, values in chunk.arrays.items():
            values[rows:] = 0
            self._arrays[name].write_rows(chunk.start, values)
            crc[name] = crc32c(values[:rows])
        ordinal = chunk.start // chunk.capacity
        rng = chunk.rng.numpy()[None]
        self._arrays["rng_state"].write_rows(ordinal, rng)
        crc["rng_state"] = crc32c(rng)
        for name, values in zip(RAGGED, _ragged(chunk), strict=True):
            if name not in self._arrays:  # a store of before there was this array
                continue
            blocks[name] = self._append(name, values)
            crc[name] = crc32c(values)
        for step, payload in chunk.states.items():
            crc |= write_state(self._store, step, payload)
        crc |= statistics.write(self._store, ordinal, chunk.statistics)
        if chunk.point is not None:
            crc["resume"] = write_point(self._store, ordinal, chunk.point)
        batches = [[_shape(batch) for batch in step] for step in chunk.batches]
        forward = [[batch.forward and batch.forward.note() for batch in step] for step in chunk.batches]
        cut = [sorted(row) for row in chunk.cut] if any(chunk.cut) and "clip_entries" in self._arrays else []
        commit = Commit(
            chunk.start,
            chunk.start + rows,
            crc,
            blocks,
            batches,
            chunk.clip,
            chunk.metrics,
            paused=chunk.paused,
            forward=forward if any(note for step in forward for note in step) else [],
            cut=cut,
            penalty=chunk.penalty if any(chunk.penalty) else [],
            reset=chunk.reset if any(chunk.reset) else [],
        )
        journal.append(self._store / JOURNAL, commit)

    def _append(self, name: str, values: np.ndarray) -> tuple[int, int]:
        """Append whole blocks to a ragged array, padded with −1; return the first entry and the number in use."""
        array, start = self._arrays[name], self._used[name]
        length = -(-len(values) // array.chunk_rows) * array.chunk_rows
        if length:
            padding = [(0, length - len(values)), *[(0, 0)] * (values.ndim - 1)]
            fill = 0 if values.dtype == np.uint8 else -1
            array.write_rows(start, np.pad(values, padding, constant_values=fill))
        self._used[name] = start + length
        return start, len(values)


def _ragged(chunk: Chunk) -> tuple[np.ndarray, ...]:
    """What each array of `RAGGED` receives."""
    batches = [batch for step in chunk.batches for batch in step]
    indices = [batch.indices.numpy() for batch in batches]
    weights = [batch.weights.numpy() for batch in batches if isinstance(batch.weights, Tensor)]
    views = [batch.views.numpy() for batch in batches if batch.views is not None]
    states = [
        batch.forward.generator.numpy()
        for batch in batches
        if batch.forward is not None and batch.forward.generator is not None
    ]
    entries = [row[tensor].numpy() for row in chunk.cut for tensor in sorted(row)]
    return (
        np.concatenate([np.empty(0, dtype=np.int64), *indices]),
        np.concatenate([np.empty(0, dtype=np.float64), *weights]),
        np.concatenate([np.empty(0, dtype=np.int64), *views]),
        np.stack(states) if states else np.empty((0, 0), dtype=np.uint8),
        np.concatenate(entries) if entries else np.empty(0, dtype=np.float32),
    )


def _shape(batch: MicroBatch) -> tuple[int, float | str | None, bool]:
    weights = "samples" if isinstance(batch.weights, Tensor) else batch.weights
    return len(batch.indices), weights, batch.views is not None
