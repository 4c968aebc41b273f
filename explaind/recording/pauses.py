"""Updates in which a tensor of θ has no gradient: the optimizer leaves it, its buffers and its counter alone.

A layer that is frozen for a while, an expert that no sample was sent to, a parameter that is added to the optimizer later.
Nothing is kept of a run without them: the norm −1 stands for a gradient that is not there, and chunks that have one say so in the
journal.
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
        self._before = [np.zeros_like(self._initial)]  # updates missed before each chunk, as far as known

    def active(self, s: int) -> np.ndarray:
        """Did the optimizer get a gradient of each tensor at update s? bool [tensors]."""
        chunk, row = self._at(s)
        if not self._commits[chunk].paused:
            return np.ones(len(self._initial), dtype=bool)
        return self._absent(chunk)[row] == 0

    def counts(self, s: int) -> np.ndarray:
        """How many updates each tensor took part in, update s and those before the recording included, int64 [tensors]."""
        chunk, row = self._at(s)
        return self._initial + (s + 1) - self._missed_before(chunk) - self._missed(chunk, row + 1)

    def _at(self, s: int) -> tuple[int, int]:
        return divmod(s, self._commits[0].stop) if self._commits else (0, 0)

    def _absent(self, chunk: int) -> np.ndarray:
        return (self._reader.chunk("gradient_norms", chunk)[:, 1] < 0).astype(np.int64)

    def _missed(self, chunk: int, rows: int) -> np.ndarray | int:
        return self._absent(chunk)[:rows].sum(0) if self._commits[chunk].paused else 0

    def _missed_before(self, chunk: int) -> np.ndarray:
        while len(self._before) <= chunk:
            last = len(self._before) - 1
            rows = self._commits[last].stop - self._commits[last].start
            self._before.append(self._before[last] + self._missed(last, rows))
        return self._before[chunk]
