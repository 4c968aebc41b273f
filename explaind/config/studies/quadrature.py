"""Baselines of a fixed number of nodes."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from explaind.config.fields import Count, Distinct, Items
from explaind.config.group import Group, Wrong
from explaind.config.recorded import Recorded

__all__ = ["Quadrature"]


class Quadrature(Group):
    """Baselines of a fixed number of nodes."""

    nodes: Distinct[Count] = Field(description="numbers of midpoint nodes, one baseline each")
    tests: Items[Count] = Field(description="how many tests each of them explains")

    def wrong(self, whole: Recorded) -> Iterator[Wrong]:
        limit = whole.data.test
        if len(self.nodes) != len(self.tests) or max(self.tests) > limit:
            expected = f"for each of nodes {self.nodes} at most {limit} tests"
            yield "study.quadrature.tests", expected, self.tests
