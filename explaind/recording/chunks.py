"""Decoded, verified chunks of a trajectory, a few of them kept in memory."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from explaind.recording.journal import Commit
from explaind.recording.schema import RAGGED
from explaind.recording.verify import check_crc
from explaind.store import StoredArray, open_array


class ChunkReader:
    """Reads what the journal says was committed, and nothing else.

    Args:
        path: the store.
        commits: one per chunk, in order.
        static: checksums of the arrays that were written when the recording began.
        kept: decoded chunks kept per array; the least recently used goes first.
    """

    def __init__(self, path: Path, commits: list[Commit], static: dict[str, int], kept: int) -> None:
        self._path = path
        self._commits = commits
        self._static = static
        self._kept = kept
        self._arrays: dict[str, StoredArray] = {}
        self.cache: dict[str, OrderedDict[int, np.ndarray]] = {}

    def array(self, name: str) -> StoredArray:
        """The stored array, opened once."""
        if name not in self._arrays:
            self._arrays[name] = open_array(self._path, name)
        return self._arrays[name]

    def static(self, name: str) -> Tensor:
        """A vector that was written when the recording began, verified."""
        values = self.array(name).read_all()
        check_crc(self._path, f"array '{name}'", values, self._static[name])
        return torch.from_numpy(values)

    def chunk(self, name: str, ordinal: int) -> np.ndarray:
        """The committed rows of one chunk of an array (for ragged arrays its entries), without padding.

        Raises:
            StoreError: the chunk is missing, cannot be decoded, or holds other values than were committed.
        """
        cache = self.cache.setdefault(name, OrderedDict())
        if ordinal in cache:
            cache.move_to_end(ordinal)
            return cache[ordinal]
        commit = self._commits[ordinal]
        if name in RAGGED:
            first, length = commit.blocks[name]
            start, stop = first, first + length
        elif name == "rng_state":
            start, stop = ordinal, ordinal + 1
        else:
            start, stop = commit.start, commit.stop
        values = self.array(name).read_rows(start, stop)
        where = f"updates {commit.start} to {commit.stop} of array '{name}'"
        check_crc(self._path, where, values, commit.crc[name])
        cache[ordinal] = values
        while len(cache) > self._kept:
            cache.popitem(last=False)
        return values
