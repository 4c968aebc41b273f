"""Evaluate a traced function on any number of samples with few traces: small sets are padded to a power of two."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from explaind.features.trace import trace

SMALLEST = 16
PLAIN_CALLS = 8  # tracing costs about as much as this many plain calls; a short walk never traces


class Batched:
    """A pure function of (fixed tensors, per-sample tensors), traced once per size that recurs.

    Args:
        function: (*fixed, *samples) → list of tensors.
        axis: sample axis of every result; None if the function sums over the samples, which then are not padded.
        block: samples of an ordinary call; only smaller sets are padded.
    """

    def __init__(self, function: Callable[..., list[Tensor]], *, axis: int | None, block: int) -> None:
        self._function, self._axis, self._block = function, axis, block
        self._traced: dict[tuple, Callable[..., Sequence[Tensor]]] = {}
        self._calls: dict[tuple, int] = {}

    def __call__(self, fixed: Sequence[Tensor], samples: Sequence[Tensor]) -> list[Tensor]:
        """The function's results for these samples."""
        count = len(samples[0])
        size = self._size(count)
        if size > count:  # repeat the last sample; its results are cut off again
            index = torch.arange(size).clamp_(max=count - 1)
            samples = [part[index] for part in samples]
        key = (size, *(tuple(part.shape) for part in fixed))
        self._calls[key] = self._calls.get(key, 0) + 1
        if key not in self._traced and self._calls[key] > PLAIN_CALLS:
            self._traced[key] = trace(self._function, *fixed, *samples)
        with torch.no_grad():
            found = list(self._traced.get(key, self._function)(*fixed, *samples))
        return [part.narrow(self._axis, 0, count) for part in found] if size > count else found

    def _size(self, count: int) -> int:
        if self._axis is None or count >= self._block:
            return count
        return min(self._block, max(SMALLEST, 1 << (count - 1).bit_length()))
