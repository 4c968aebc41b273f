"""Which training samples a query keeps one by one; all others are summed in the term `others`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from explaind.attribution.query import Query, whole
from explaind.errors import QueryError

__all__ = ["Chosen", "choose"]


class Chosen:
    """Some of N training samples, each with its place on the train axis.

    Attributes:
        indices: the samples in the order of the axis, int64 [M].
    """

    def __init__(self, indices: Sequence[int], total: int) -> None:
        self.indices = torch.as_tensor(indices, dtype=torch.int64)
        self._place = torch.full((total,), -1, dtype=torch.int64)
        self._place[self.indices] = torch.arange(len(self.indices))

    def __len__(self) -> int:
        return len(self.indices)

    def places(self, samples: Tensor) -> Tensor:
        """Where these samples [n] are on the train axis, -1 for those that are not on it, [n]."""
        return self._place.to(samples.device)[samples]


def choose(query: Query, total: int) -> Chosen | None:
    """The samples that the query names, out of `total`; None for all of them, in their own order.

    Raises:
        QueryError: samples that do not exist or are named twice, none at all, or no train axis to keep them on.
    """
    if query.samples is None:
        return None
    if not query.keeps("train"):
        raise QueryError("Training samples are chosen, but not kept.", remedy="Keep 'train' too.")
    chosen: Iterable[int] = (
        range(*query.samples.indices(total)) if isinstance(query.samples, slice) else query.samples
    )
    listed = list(chosen) if isinstance(chosen, Iterable) else [chosen]
    usable = all(whole(k) and 0 <= k < total for k in listed) and len(set(listed)) == len(listed)
    if listed == list(range(total)) and total:
        return None
    if not listed or not usable:
        raise QueryError(
            "The training samples are not usable.",
            expected=f"a slice, or different sample numbers within [0, {total})",
            got=", ".join(map(str, listed[:8])) + (" …" if len(listed) > 8 else "") or "none",
        )
    return Chosen([int(k) for k in listed], total)
