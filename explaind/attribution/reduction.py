"""Reduce one quantity to the axes that a query keeps.

Axes that the query does not resolve are summed on arrival; absolute values are taken as soon as everything inside them is
complete, so the tensor of influences never exists. Axes as in `explaind.attribution.block`: parts [g, S', K, N, n, O] of one
parameter group or of all come in, one tensor [S', G, K, N, n, O] goes out.

Forward and reverse mode sum over updates, and take absolute values, in float64; the contractions, which have summed over
updates themselves, in the precision of the evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from explaind.attribution.block import Quantity
from explaind.attribution.query import Query

FLUSH = 32  # float32 additions before a partial sum moves into the float64 one: rounding stays near one float32 rounding
AXES = {"test": -2, "output": -1}
STATE = ("_result", "_sum", "_recent", "_count", "_blocks")  # what grows


class Reduction:
    """Reduces one quantity, block by block.

    Args:
        query: which axes are kept and where absolute values are taken.
        steps: labels of the step axis; None to sum over it.
        tests: number of test samples.
        with_all: add one more group at the end, the sum over all groups, formed before any absolute value.
    """

    def __init__(self, query: Query, steps: tuple[int, ...] | None, tests: int, with_all: bool) -> None:
        self._query, self._steps, self._tests, self._with_all = query, steps, tests, with_all
        self._position = {s: i for i, s in enumerate(steps or ())}
        self._result: Tensor | None = None
        self._sum: Tensor | None = None  # of updates, float64, signed, [G, 1, K, N, n, O]
        self._recent: list[Tensor] | None = None  # the last few additions, in their own precision
        self._count = 0
        self._blocks: list[
            Tensor
        ] = []  # of contractions whose tests are summed over: one sum rounds less than many

    def add(self, quantity: Quantity, tests: slice) -> None:
        """Updates of one block."""
        groups = quantity.groups
        if self._with_all:
            groups = [*groups, torch.stack(list(groups)).sum(0)]
        parts = [groups] if isinstance(groups, Tensor) else [group.unsqueeze(0) for group in groups]
        parts = [self._reduce(part) for part in parts]
        if self._steps is None and quantity.steps is not None:
            self._accumulate(parts)
            return
        if self._query.resolves("test"):
            parts = [self._absolute(part) for part in parts]
        first = 0 if quantity.steps is None else self._position[quantity.steps[0]]
        self._store(parts, slice(first, first + parts[0].shape[1]), tests)

    def close(self, tests: slice) -> None:
        """All updates of these test samples have been added."""
        if self._query.resolves("test"):
            self._store_sum(tests)

    def finish(self) -> tuple[tuple[int, ...] | None, Tensor]:
        """Labels of the step axis (None if summed over) and the collected values."""
        self._store_sum(slice(None))
        if self._blocks:
            self._result = torch.stack(self._blocks).sum(0)
        if self._query.importance and not self._query.resolves("test"):
            self._result = self._absolute(self._result)
        return self._steps, self._result

    def state(self) -> dict[str, Any]:
        """What has been reduced so far, by reference, for `restore`."""
        return {"steps": self._steps, **{name: getattr(self, name) for name in STATE}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of a reduction of the same query and tests."""
        for name in STATE:
            setattr(self, name, state[name])

    def _accumulate(self, parts: Sequence[Tensor]) -> None:
        """Add one update's block to the sum over updates."""
        if self._recent is None:
            self._recent = [part.clone() for part in parts]
        else:
            for total, part in zip(self._recent, parts, strict=True):
                total += part
        self._count += 1
        if self._count >= FLUSH or parts[0].dtype == torch.float64:
            self._flush()

    def _flush(self) -> None:
        if self._recent is not None:
            recent = torch.cat(self._recent).double()
            self._sum = recent if self._sum is None else self._sum.add_(recent)
            self._recent, self._count = None, 0

    def _reduce(self, values: Tensor) -> Tensor:
        """[…, n, O] summed over the axes that are not resolved."""
        for axis in ("output", "test"):
            if not self._query.resolves(axis) and values.shape[AXES[axis]] > 1:
                values = values.sum(AXES[axis], keepdim=True)
        return values

    def _absolute(self, values: Tensor) -> Tensor:
        """Sum of absolute values over the importance axes of […, n, O], which keep length one."""
        dims = [AXES[axis] for axis in self._query.importance]
        dtype = None if self._query.contracts else torch.float64
        return (
            torch.linalg.vector_norm(values, ord=1, dim=dims, keepdim=True, dtype=dtype) if dims else values
        )

    def _store_sum(self, tests: slice) -> None:
        self._flush()
        if self._sum is not None:
            values = self._absolute(self._sum) if self._query.resolves("test") else self._sum
            self._store([values], slice(0, 1), tests)
            self._sum = None

    def _store(self, parts: Sequence[Tensor], steps: slice, tests: slice) -> None:
        """Put some groups' [g, S', K, N, n or 1, O or 1] where they belong; tests that are summed over add up."""
        if self._query.contracts and not self._query.keeps("test"):
            self._blocks.append(torch.cat(list(parts)).transpose(0, 1).contiguous())
            return
        if self._result is None:
            like, kept = parts[0].shape, self._tests if self._query.keeps("test") else 1
            shape = (
                1 if self._steps is None else len(self._steps),
                sum(map(len, parts)),
                *like[2:4],
                kept,
                like[5],
            )
            self._result = torch.zeros(shape, dtype=parts[0].dtype)
        at, first = tests if self._query.keeps("test") else slice(None), 0
        for part in parts:
            self._result[steps, first : first + len(part), :, :, at] += part.transpose(0, 1)
            first += len(part)
