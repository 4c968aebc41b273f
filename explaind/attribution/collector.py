"""Collect blocks of influences into one view: every quantity over the axes that its query keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from explaind.attribution.block import Block
from explaind.attribution.problem import Problem
from explaind.attribution.reduction import Reduction
from explaind.ledger import UpdateTerms


@dataclass(frozen=True)
class Collected:
    """One quantity over the kept axes, the others with length one.

    Attributes:
        steps: labels of the S' updates; None for a sum over them.
        values: [S', G, N, n, O]; in importances of groups with one more at the end, the absolute value of their sum.
    """

    steps: tuple[int, ...] | None
    values: Tensor


class Collector:
    """Collects one view.

    Args:
        problem: whose query is the view.

    Attributes:
        error, nodes: worst |quadrature residual| and mean nodes of each explained update, float64 [S].
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._with_all = bool(problem.query.importance) and not problem.partition.single
        self._reductions: dict[tuple[str, ...], Reduction] = {}
        self._position = {s: i for i, s in enumerate(problem.steps)}
        self.error, self.nodes = (torch.zeros(len(problem.steps), dtype=torch.float64) for _ in range(2))

    def add(self, block: Block) -> None:
        """One block; those of the same test samples come one after another."""
        query = self._problem.query
        unused = ("change", "explained") if query.importance else ("replay",)
        for quantity in block.quantities:
            if quantity.names[0] in unused:
                continue
            if quantity.names not in self._reductions:
                self._reductions[quantity.names] = self._reduction(quantity.steps)
            self._reductions[quantity.names].add(quantity, block.tests)
        first = self._position[block.steps[0]]
        at = slice(first, first + len(block.steps))
        self.error[at] = torch.maximum(self.error[at], block.error)
        self.nodes[at] += block.nodes

    def close(self, tests: slice) -> None:
        """All updates of these test samples have been added."""
        for each in self._reductions.values():
            each.close(tests)

    def state(self) -> dict[str, Any]:
        """What has been collected so far, by reference, for `restore`."""
        reductions = {names: each.state() for names, each in self._reductions.items()}
        return {"error": self.error, "nodes": self.nodes, "reductions": reductions}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of a collector of the same problem."""
        self.error, self.nodes = state["error"], state["nodes"]
        for names, reduced in state["reductions"].items():
            self._reductions[names] = self._labelled(reduced["steps"])
            self._reductions[names].restore(reduced)

    def finish(self) -> dict[str, Collected]:
        """Every quantity by name; zeros for the terms and the change where no update is explained."""
        if not self._reductions:
            return self._nothing()
        collected: dict[str, Collected] = {}
        for names, each in self._reductions.items():
            steps, values = each.finish()
            collected |= {name: Collected(steps, values[:, :, k]) for k, name in enumerate(names)}
        return collected

    def _nothing(self) -> dict[str, Collected]:
        """Zeros, where no update is explained."""
        problem, query = self._problem, self._problem.query
        steps, groups = (() if query.keeps("step") else None), len(problem.partition)
        shape = (
            1 if steps is None else 0,
            groups + self._with_all,
            1,
            len(problem.test) if query.keeps("test") else 1,
            problem.outputs if query.keeps("output") else 1,
        )
        return {
            name: Collected(steps, torch.zeros(shape))
            for name in (*UpdateTerms(problem.ledger).names, "change")
        }

    def _reduction(self, steps: tuple[int, ...] | None) -> Reduction:
        query = self._problem.query
        labels = self._problem.steps if query.lineage == "update" and steps is not None else steps
        return self._labelled(labels if query.keeps("step") else None)

    def _labelled(self, labels: tuple[int, ...] | None) -> Reduction:
        return Reduction(self._problem.query, labels, len(self._problem.test), self._with_all)
