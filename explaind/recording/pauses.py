"""Updates in which a tensor of θ has no gradient: the optimizer leaves it, its buffers and its counter alone.

A layer that is frozen for a while, an expert that no sample was sent to, a parameter that is added to the optimizer later.
Nothing is kept of a run without them: the norm −1 stands for a gradient that is not there, and chunks that have one say so in the
journal. Where the optimizer's state was emptied (`optimizer.state.clear()`), a tensor's momentum and counter begin again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from explaind.recording.chunks import ChunkReader
from explaind.recording.journal import Commit


class Pauses:
    """Which tensors took part in which update, and how often before.

    Args:
        reader, commits: of the store, one commit per chunk.
        initial: per tensor, the optimizer's counter before the first recorded update.
    """

    def __init__(self, reader: ChunkReader, commits: Sequence[Commit], initial: Sequence[int]) -> None:
        self._reader, self._commits = reader, commits
        self._initial = np.asarray(initial, dtype=np.int64)
        self._before = [self._initial]  # counts before each chunk, as far as known

    def active(self, s: int) -> np.ndarray:
        """Did the optimizer get a gradient of each tensor at update s? bool [tensors]."""
        chunk, row = self._at(s)
        if not self._commits[chunk].paused:
            return np.ones(len(self._initial), dtype=bool)
        return self._absent(chunk)[row] == 0

    def reset(self, s: int) -> tuple[int, ...]:
        """Tensors whose state was emptied before update s: momentum and counter begin again."""
        chunk, row = self._at(s)
        rows = self._commits[chunk].reset
        return tuple(rows[row]) if rows else ()

    def counts(self, s: int) -> np.ndarray:
        """How many updates each tensor took part in since its state was last emptied, int64 [tensors].

        Update s is included, and so are those before the recording where it never was.
        """
        chunk, row = self._at(s)
        return self._rolled(self._counts_before(chunk), chunk, row + 1)

    def _at(self, s: int) -> tuple[int, int]:
        return divmod(s, self._commits[0].stop) if self._commits else (0, 0)

    def _absent(self, chunk: int) -> np.ndarray:
        return (self._reader.chunk("gradient_norms", chunk)[:, 1] < 0).astype(np.int64)

    def _rolled(self, counts: np.ndarray, chunk: int, rows: int) -> np.ndarray:
        """The counts after so many more updates of a chunk."""
        commit = self._commits[chunk]
        if not commit.reset:
            return counts + rows - (self._absent(chunk)[:rows].sum(0) if commit.paused else 0)
        took = 1 - self._absent(chunk) if commit.paused else np.ones((rows, len(counts)), dtype=np.int64)
        counts = counts.copy()
        for row in range(rows):
            counts[commit.reset[row]] = 0
            counts += took[row]
        return counts

    def _counts_before(self, chunk: int) -> np.ndarray:
        while len(self._before) <= chunk:
            last = len(self._before) - 1
            rows = self._commits[last].stop - self._commits[last].start
            self._before.append(self._rolled(self._before[last], last, rows))
        return self._before[chunk]
