"""A stretch of an update's path: its exact change of the loss, its quadrature, and what that misses."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from explaind.features import patterson
from explaind.updates.terms import TERMS

__all__ = ["HALF", "Stretch"]

HALF = 3  # nodes of each half of a stretch, at first


class Stretch:
    """A part [start, stop] of the path, the mean losses at its ends, and its quadrature at some level."""

    def __init__(
        self, start: float, stop: float, before: float, after: float, scores_at: Callable[[float], Tensor]
    ) -> None:
        self.start, self.stop, self.before, self._after = start, stop, before, after
        self.middle = (start + stop) / 2
        self._scores_at, self._found, self._level = scores_at, [], -1

    @property
    def change(self) -> float:
        """The exact change of the loss."""
        return self._after - self.before

    @property
    def scores(self) -> Tensor:
        """Contributions over the stretch."""
        weights = torch.tensor(self.weights(), dtype=torch.float64, device=self._found[0].device)
        return torch.einsum("n,nru->ru", weights, torch.stack(self._found))

    @property
    def reconstruction(self) -> float:
        """Sum of the terms' scores."""
        return float(self.scores[: len(TERMS)].sum())

    @property
    def residual(self) -> float:
        """What the quadrature missed."""
        return self.change - self.reconstruction

    def nodes(self) -> list[float]:
        """Positions on the path."""
        return [self._place(node) for node in patterson.nodes(self._level)]

    def weights(self) -> list[float]:
        """Weights of `nodes()`."""
        return [(self.stop - self.start) * weight for weight in patterson.weights(self._level)]

    @property
    def is_finest(self) -> bool:
        """No level has more nodes: the next step is to halve it."""
        return self._level == len(patterson.LEVELS) - 1

    @property
    def next_cost(self) -> int:
        """Nodes that the next step evaluates."""
        return 2 * HALF if self.is_finest else len(patterson.new_nodes(self._level + 1))

    def refine(self) -> None:
        """Evaluate the nodes that the next level adds."""
        self._level += 1
        self._found += [self._scores_at(self._place(node)) for node in patterson.new_nodes(self._level)]

    def halves(self, at_middle: float) -> list[Stretch]:
        """Both halves, with `HALF` nodes each."""
        first = Stretch(self.start, self.middle, self.before, at_middle, self._scores_at)
        second = Stretch(self.middle, self.stop, at_middle, self._after, self._scores_at)
        for half in (first, second):
            for _ in range(patterson.LEVELS.index(HALF) + 1):
                half.refine()
        return [first, second]

    def _place(self, node: float) -> float:
        return self.start + (self.stop - self.start) * node
