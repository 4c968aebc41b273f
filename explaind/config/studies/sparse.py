"""Decompositions that leave out updates."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from explaind.config.fields import Distinct, Natural, Several, Share
from explaind.config.group import Group, Wrong
from explaind.config.recorded import Recorded

__all__ = ["Sparse"]


class Sparse(Group):
    """Decompositions that leave out updates."""

    shares: Distinct[Share] = Field(description="shares of kept updates")
    orders: Several = Field(description="random orders of the updates")
    seed: Natural = Field(description="of the random orders")

    def wrong(self, whole: Recorded) -> Iterator[Wrong]:
        if not getattr(whole.data, "heldout", 0):
            yield "data.heldout", "at least 1: the loss of held-out samples ranks the updates", 0
