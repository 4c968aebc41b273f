"""Traced functions that are compared with the plain ones now and then, so that a trace never drifts from the model unseen.

A trace is compared: when it is made; the first time it meets a block of samples that is used again; about one call in 64, fewer
where a comparison costs much more than a call (so that they take about 1 % of the time); within `checked`, when the quadrature
requires it. Compared are a few samples of the block, evaluated plainly in a smaller block; only where these differ by more than
rounding is the whole block evaluated plainly, which decides. A difference is an error: earlier numbers already rest on the trace.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from explaind.errors import TraceError
from explaind.features.agreement import first_difference
from explaind.features.trace import trace

Function = Callable[..., Sequence[Tensor]]
EVERY = 64  # calls between two comparisons
RAREST = 1024  # at most so many calls between two, whatever a comparison costs
SHARE = 0.01  # of the time that may go into comparisons
FEW = 8  # samples of a block that are compared


class _State:
    forced = False
    calls = 0


def traced_calls() -> int:
    """How many traced evaluations there have been: tells whether a trace took part in a computation."""
    return _State.calls


@contextmanager
def checked() -> Iterator[None]:
    """Within this block every traced evaluation is compared with the plain one, on the first samples of each block.

    Raises:
        TraceError: they differ.
    """
    before, _State.forced = _State.forced, True
    try:
        yield
    finally:
        _State.forced = before


class SpotChecked:
    """A traced function with its plain original.

    Args:
        plain, traced: the same function of (*fixed, *samples).
        axis: sample axis of every result; None if the function sums over the samples.
        every: calls between two comparisons.
    """

    def __init__(self, plain: Function, traced: Function, axis: int | None, every: int = EVERY) -> None:
        self._plain, self._traced, self._axis, self._every = plain, traced, axis, every
        self._calls = self._next = 0

    def __call__(
        self, fixed: Sequence[Tensor], samples: Sequence[Tensor], count: int, *, fresh: bool = False
    ) -> list[Tensor]:
        """The results of the traced function; `count` samples are real, the rest padding. `fresh` requests a comparison.

        Raises:
            TraceError: they differ from the plain function's.
        """
        results = list(self._traced(*fixed, *samples))
        self._calls += 1
        _State.calls += 1
        if _State.forced:
            self._compare(fixed, samples, 0, min(FEW, count), results)
        elif fresh or self._calls % self._every == 0:
            few = min(FEW, count)
            self._compare(fixed, samples, min(self._next % count, count - few), few, results)
            self._next += few  # so that all places of a block have their turn
        return results

    def _compare(
        self, fixed: Sequence[Tensor], samples: Sequence[Tensor], start: int, few: int, results: list[Tensor]
    ) -> None:
        if self._axis is not None and few < len(samples[0]):
            plain = self._plain(*fixed, *(part[start : start + few] for part in samples))
            ours = [part.narrow(self._axis, start, few) for part in results]
            if first_difference(ours, list(plain)) is None:
                return  # other block sizes round otherwise: the whole block decides
        difference = first_difference(results, list(self._plain(*fixed, *samples)))
        if difference is not None:
            raise TraceError(
                "The traced evaluation of the model differs from the model itself, so results computed so far may be wrong.",
                expected="a forward pass that depends on values through tensor operations alone",
                got=difference,
                remedy="Repeat the query inside `with explaind.features.batched.untraced():`, which evaluates the model as "
                "it is, and look for what the forward pass keeps from call to call or reads outside of torch.",
            )


def spot_checked(
    function: Function,
    axis: int | None,
    fixed: Sequence[Tensor],
    samples: Sequence[Tensor],
    before: Sequence[Tensor],
) -> SpotChecked | None:
    """The function traced on (*fixed, *samples), or None where a trace would not be the same function.

    Args:
        before: samples of the block before, of the same shapes or not; used to compare on, where they fit.
    """
    rolled = [part.roll(1, 0) for part in samples]
    fits = [part.shape for part in before] == [part.shape for part in samples]
    elsewhere = [part * 0.97 if part.is_floating_point() else part for part in fixed]
    others = ([*fixed, *rolled], [*elsewhere, *(before if fits else rolled)])
    traced = trace(function, *fixed, *samples, others=others)
    if traced is function:
        return None
    with torch.no_grad():
        ours = _seconds(traced, *fixed, *samples)
        few = [part[:FEW] for part in samples] if axis is not None else samples
        plain = _seconds(function, *fixed, *few)
    every = min(RAREST, max(EVERY, round(plain / max(ours, 1e-9) / SHARE)))
    return SpotChecked(function, traced, axis, every)


def _seconds(function: Function, *arguments: Tensor) -> float:
    begin = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - begin
