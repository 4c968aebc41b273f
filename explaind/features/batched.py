"""Evaluate a pure function on any number of samples, a block at a time, with few traces and no large temporaries.

Blocks are small enough that intermediate results stay in the cache, so large samples come in smaller blocks: the cost per
sample is then the same for one block as for many, and only the last block of a call is padded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from weakref import ref

import torch
from torch import Tensor

from explaind.errors import ExplaindError, QueryError
from explaind.features.spot_check import SpotChecked, spot_checked

#: Samples in a block. The last block of a call is padded to one of these, so that few shapes are traced.
SIZES = (8, 16, 32, 64, 128, 256)
BLOCK = SIZES[-1]
#: Entries of one block's inputs, at most: convolutions on 3 × 32 × 32 take about half the time a sample at 64 as at 256.
BLOCK_ENTRIES = 1 << 17
PLAIN_CALLS = 8  # tracing costs about as much as this many plain calls; a short walk never traces


class Batched:
    """A function of (fixed tensors, per-sample tensors), traced once per size that recurs.

    Raises, when called:
        QueryError: the model cannot be evaluated for many samples or along many tangents at once.
        TraceError: a comparison of the traced and the plain function found a difference (`explaind.features.spot_check`).

    Args:
        function: (*fixed, *samples) → list of tensors.
        axis: sample axis of every result; None if the function sums over the samples: blocks then add up, unpadded.
    """

    def __init__(self, function: Callable[..., list[Tensor]], *, axis: int | None) -> None:
        self._function, self._axis = function, axis
        self._traced: dict[tuple, SpotChecked | None] = {}
        self._calls: dict[tuple, int] = {}
        self._met: dict[int, tuple[ref[Tensor], set[int]]] = {}
        self._before: Sequence[Tensor] = ()

    def __call__(self, fixed: Sequence[Tensor], samples: Sequence[Tensor]) -> list[Tensor]:
        """The function's results for these samples."""
        total = len(samples[0])
        size = block_size(samples[0])
        unchecked = self._unchecked(samples[0])
        if total <= size:
            return self._block(fixed, samples, unchecked, 0)
        result: list[Tensor] | None = None
        for start in range(0, total, size):
            results = self._block(fixed, [part[start : start + size] for part in samples], unchecked, start)
            if self._axis is None:
                result = (
                    results if result is None else [a.add_(b) for a, b in zip(result, results, strict=True)]
                )
                continue
            if result is None:
                result = [_lengthened(part, self._axis, total) for part in results]
            for whole, part in zip(result, results, strict=True):
                whole.narrow(self._axis, start, part.shape[self._axis]).copy_(part)
        return result

    def _unchecked(self, samples: Tensor) -> set[int]:
        """Starts of the blocks of these samples that no trace was compared on; empty for samples that may not come again.

        Samples that are explained come again at every step as the same tensor; selections and training batches are new
        tensors each time, and only one call in many is compared for them.
        """
        known = self._met.get(id(samples))
        if known is None or known[0]() is not samples:
            first, key = not self._met, id(samples)
            self._met = {k: v for k, v in self._met.items() if v[0]() is not None}
            self._met[key] = known = ref(samples), set(range(0, len(samples), block_size(samples)))
            return known[1] if first else set()
        return known[1]

    def _block(
        self, fixed: Sequence[Tensor], samples: Sequence[Tensor], unchecked: set[int], start: int
    ) -> list[Tensor]:
        count = len(samples[0])
        size = count if self._axis is None else next(s for s in SIZES if s >= count)
        if size > count:  # repeat the last sample; its results are cut off again
            index = torch.arange(size).clamp_(max=count - 1)
            samples = [part[index] for part in samples]
        key = (size, *(tuple(part.shape) for part in fixed))
        self._calls[key] = self._calls.get(key, 0) + 1
        with torch.no_grad(), _vectorised():
            if key not in self._traced and self._calls[key] > PLAIN_CALLS:
                self._traced[key] = spot_checked(self._function, self._axis, fixed, samples, self._before)
            traced = self._traced.get(key)
            if traced is None:
                results = list(self._function(*fixed, *samples))
            else:
                results = traced(fixed, samples, count, fresh=start in unchecked)
                unchecked.discard(start)
        self._before = samples
        return [part.narrow(self._axis, 0, count) for part in results] if size > count else results


@contextmanager
def untraced() -> Iterator[None]:
    """Within this block models are evaluated as they are: slower, and nothing is ever assumed of a trace."""
    global PLAIN_CALLS
    before, PLAIN_CALLS = PLAIN_CALLS, 1 << 60
    try:
        yield
    finally:
        PLAIN_CALLS = before


def block_size(samples: Tensor) -> int:
    """How many of these samples [n, …] are evaluated at once: one of `SIZES`."""
    entries = max(1, samples[0].numel())
    return max((size for size in SIZES if size * entries <= BLOCK_ENTRIES), default=SIZES[0])


@contextmanager
def _vectorised() -> Iterator[None]:
    """Say in words that a model cannot be evaluated for many samples, or along many tangents, at once."""
    try:
        yield
    except (ExplaindError, MemoryError, torch.OutOfMemoryError):
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if "can't allocate memory" in str(error):
            raise
        raise QueryError(
            "The model cannot be differentiated sample by sample.",
            expected="a forward pass without control flow, .item(), .numpy() or in-place changes that depend on values",
            got=f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}",
            remedy="Write the decision with torch.where; or keep layers and outputs with all training samples summed, "
            "which differentiates whole batches.",
        ) from error


def _lengthened(part: Tensor, axis: int, length: int) -> Tensor:
    """An empty tensor like `part`, with this length along one axis."""
    return part.new_empty(*part.shape[:axis], length, *part.shape[axis + 1 :])
