"""Collect blocks of influences into the kept axes.

A block holds the influences of one step (or of a whole window) on n test samples: one tensor [K, n, O] per group, K terms
of the update (kernel, regularization, …). Axes that a view does not resolve are summed on arrival; absolute values are
taken as soon as everything inside them is complete, so the tensor of influences never exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from explaind.attribution.query import Query

FLUSH = 32  # float32 additions before a partial sum moves into the float64 one: rounding stays near one float32 rounding


@dataclass(frozen=True)
class Extent:
    """Sizes of the axes that a collector may keep."""

    steps: tuple[int, ...]
    groups: int
    terms: int
    tests: int


class Collector:
    """Accumulates one view. `values` after `finish` is [S?, G, K, N?, O?] with the axes that the query keeps.

    Args:
        query: which axes are kept and where absolute values are taken.
        extent: sizes of the axes.
        with_all: add one more group at the end, the sum over all groups, formed before any absolute value.
    """

    def __init__(self, query: Query, extent: Extent, *, with_all: bool = False) -> None:
        self._query, self._extent, self._with_all = query, extent, with_all
        self._position = {s: i for i, s in enumerate(extent.steps)}
        self._immediate = query.keeps("step") and bool(query.importance) and query.resolves("test")
        self._result: Tensor | None = None
        self._sum: Tensor | None = None  # float64, signed
        self._recent: list[Tensor] | None = None  # per group, float32, the last few additions
        self._count = 0

    def add(self, step: int, groups: Sequence[Tensor], tests: slice) -> None:
        """One step's block: a tensor [K, n, O] per group, for the test samples `tests`."""
        parts = list(groups)
        if self._with_all:
            parts.append(torch.stack(parts).sum(0))
        parts = [self._reduce(part) for part in parts]
        if self._immediate or self._query.keeps("step"):
            if self._immediate:
                parts = [self._absolute(part) for part in parts]
            self._store(torch.stack(parts), tests, step)
            return
        if self._recent is None:
            self._recent = [part.clone() for part in parts]
        else:
            for total, part in zip(self._recent, parts, strict=True):
                total += part
        self._count += 1
        if self._count >= FLUSH or parts[0].dtype == torch.float64:
            self._flush()

    def close_block(self, tests: slice) -> None:
        """All steps of these test samples have been added."""
        if self._query.keeps("step") or not self._query.resolves("test"):
            return
        self._flush()
        if self._sum is not None:
            self._store(self._absolute(self._sum), tests, None)
        self._sum = None

    def finish(self) -> Tensor | None:
        """The collected view; None if nothing was added."""
        self._flush()
        if self._sum is not None:
            self._store(self._sum, slice(None), None)
            self._sum = None
        if self._result is not None and self._query.importance and not self._query.resolves("test"):
            self._result = self._absolute(self._result)
        return self._result

    def _reduce(self, part: Tensor) -> Tensor:
        """[K, n, O] → the resolved axes."""
        if not self._query.resolves("output"):
            part = part.sum(-1, keepdim=True)
        if not self._query.resolves("test"):
            part = part.sum(-2, keepdim=True)
        return part

    def _absolute(self, value: Tensor) -> Tensor:
        """Sum of absolute values over the importance axes of […, n, O]; axes stay, with length one."""
        axes = {"test": -2, "output": -1}
        dims = [axes[a] for a in self._query.importance]
        return (
            torch.linalg.vector_norm(value, ord=1, dim=dims, keepdim=True, dtype=torch.float64)
            if dims
            else value
        )

    def _flush(self) -> None:
        if self._recent is not None:
            recent = torch.stack(self._recent).double()
            self._sum = recent if self._sum is None else self._sum.add_(recent)
            self._recent, self._count = None, 0

    def _store(self, value: Tensor, tests: slice, step: int | None) -> None:
        """Put [G, K, n or 1, O or 1] where it belongs; blocks of test samples that are summed over add up."""
        query, extent = self._query, self._extent
        if self._result is None:
            kept = extent.tests if query.keeps("test") else 1
            shape = (*value.shape[:2], kept, value.shape[3])
            lead = (len(extent.steps),) if query.keeps("step") else ()
            self._result = torch.zeros(lead + shape, dtype=value.dtype)
        target = self._result[self._position[step]] if step is not None else self._result
        if query.keeps("test"):
            target[:, :, tests] += value
        else:
            target += value
