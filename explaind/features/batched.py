"""Evaluate a pure function on any number of samples, a block at a time, with few traces and no large temporaries.

Blocks are small enough that intermediate results stay in the cache, so large samples come in smaller blocks: the cost per
sample is then the same for one block as for many, and only the last block of a call is padded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from explaind.errors import QueryError
from explaind.features.trace import trace

#: Samples in a block. The last block of a call is padded to one of these, so that few shapes are traced.
SIZES = (8, 16, 32, 64, 128, 256)
BLOCK = SIZES[-1]
#: Entries of one block's inputs, at most: convolutions on 3 × 32 × 32 take about half the time a sample at 64 as at 256.
BLOCK_ENTRIES = 1 << 17
PLAIN_CALLS = 8  # tracing costs about as much as this many plain calls; a short walk never traces


class Batched:
    """A function of (fixed tensors, per-sample tensors), traced once per size that recurs.

    Args:
        function: (*fixed, *samples) → list of tensors.
        axis: sample axis of every result; None if the function sums over the samples: blocks then add up, unpadded.
    """

    def __init__(self, function: Callable[..., list[Tensor]], *, axis: int | None) -> None:
        self._function, self._axis = function, axis
        self._traced: dict[tuple, Callable[..., Sequence[Tensor]]] = {}
        self._calls: dict[tuple, int] = {}

    def __call__(self, fixed: Sequence[Tensor], samples: Sequence[Tensor]) -> list[Tensor]:
        """The function's results for these samples."""
        total = len(samples[0])
        size = block_size(samples[0])
        if total <= size:
            return self._block(fixed, samples)
        result: list[Tensor] | None = None
        for start in range(0, total, size):
            found = self._block(fixed, [part[start : start + size] for part in samples])
            if self._axis is None:
                result = found if result is None else [a.add_(b) for a, b in zip(result, found, strict=True)]
                continue
            if result is None:
                result = [_lengthened(part, self._axis, total) for part in found]
            for whole, part in zip(result, found, strict=True):
                whole.narrow(self._axis, start, part.shape[self._axis]).copy_(part)
        return result

    def _block(self, fixed: Sequence[Tensor], samples: Sequence[Tensor]) -> list[Tensor]:
        count = len(samples[0])
        size = count if self._axis is None else next(s for s in SIZES if s >= count)
        if size > count:  # repeat the last sample; its results are cut off again
            index = torch.arange(size).clamp_(max=count - 1)
            samples = [part[index] for part in samples]
        key = (size, *(tuple(part.shape) for part in fixed))
        self._calls[key] = self._calls.get(key, 0) + 1
        if key not in self._traced and self._calls[key] > PLAIN_CALLS:
            self._traced[key] = trace(self._function, *fixed, *samples)
        with torch.no_grad(), _vectorised():
            found = list(self._traced.get(key, self._function)(*fixed, *samples))
        return [part.narrow(self._axis, 0, count) for part in found] if size > count else found


def block_size(samples: Tensor) -> int:
    """How many of these samples [n, …] are evaluated at once: one of `SIZES`."""
    entries = max(1, samples[0].numel())
    return max((size for size in SIZES if size * entries <= BLOCK_ENTRIES), default=SIZES[0])


@contextmanager
def _vectorised() -> Iterator[None]:
    """Say in words that a model cannot be evaluated for many samples, or along many tangents, at once."""
    try:
        yield
    except RuntimeError as error:
        if "vmap" not in str(error):
            raise
        raise QueryError(
            "The model cannot be differentiated sample by sample.",
            expected="a forward pass without control flow, .item() or in-place changes that depend on values",
            got=str(error).partition("\n")[0][:200],
            remedy="Write the decision with torch.where; or keep layers and outputs with all training samples summed, "
            "which differentiates whole batches.",
        ) from error


def _lengthened(part: Tensor, axis: int, length: int) -> Tensor:
    """An empty tensor like `part`, with this length along one axis."""
    return part.new_empty(*part.shape[:axis], length, *part.shape[axis + 1 :])
