"""Patterson's nested nodes, and halved stretches of the path where these are not enough: for smooth paths.

The whole path is tried with 1, 3 and 7 nested nodes. Where that is not enough, the stretch with the largest error is halved, as
its exact change is known too; each half gets three nodes, and seven if it has the largest error again. A loss is smooth, but
hardly so where a normalised vector passes close to zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from explaind.errors import ConfigError
from explaind.features.quadrature import patterson
from explaind.features.quadrature.integral import Evaluate, Integral, Predict

__all__ = ["Accuracy", "BisectedIntegral", "bisected"]

HALF = 3  # nodes of each half of a stretch, at first


@dataclass(frozen=True)
class Accuracy:
    """How exact an integral along a smooth path shall be, and what it may cost.

    Attributes:
        relative_tolerance: Σ |residual| over the stretches that is accepted, as a share of |exact change|.
        max_nodes: integrands evaluated at most, those of stretches that were halved later included.
        min_nodes: nodes on the whole path at least: 1, 3 or 7.

    Raises:
        ConfigError: a value is outside its range.
    """

    relative_tolerance: float = 1e-3
    max_nodes: int = 63
    min_nodes: int = 1

    def __post_init__(self) -> None:
        if not self.relative_tolerance >= 0:
            raise ConfigError(
                "relative_tolerance is out of range.", expected="0 or more", got=f"{self.relative_tolerance}"
            )
        for name in ("max_nodes", "min_nodes"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(
                    f"{name} is out of range.", expected="a whole number, 1 or more", got=f"{value}"
                )


@dataclass
class BisectedIntegral(Integral):
    """An integral over one path, with the rule that gave it.

    Attributes:
        positions, weights: of the rule, on [0, 1].
        by_nodes: the predicted change by the number of nested nodes on the whole path.
    """

    positions: tuple[float, ...]
    weights: tuple[float, ...]
    by_nodes: dict[int, float]


def bisected(
    evaluate: Evaluate,
    predict: Predict,
    change: Tensor,
    value: Callable[[float], float],
    accuracy: Accuracy,
    *,
    rounding: float = 0.0,
) -> BisectedIntegral:
    """Add nested nodes on the whole path, then halve stretches, until the error is accepted or no nodes are left.

    Args:
        evaluate, predict: integrands at a node, of all samples together, and the change of the value they imply.
        change: exact, of the whole path; the residual is what is missing of it.
        value: t → the value at t; its differences are the exact changes of stretches.
        accuracy: what is accepted, and the nodes it may cost.
        rounding: an error below this is the rounding of the value itself, in its units: nothing is halved for it.
    """
    whole = _Stretch(0.0, 1.0, value(0.0), value(1.0), evaluate, predict)
    accepted, by_nodes = accuracy.relative_tolerance * abs(whole.change), {}
    for count in patterson.LEVELS:
        if count > accuracy.max_nodes:
            break
        whole.refine()
        by_nodes[count] = whole.predicted
        if count >= accuracy.min_nodes and abs(whole.residual) <= accepted:
            break
    stretches, evaluations = [whole], max(by_nodes)
    accepted = max(accepted, rounding)
    while sum(abs(one.residual) for one in stretches) > accepted:
        worst = max(stretches, key=lambda one: abs(one.residual))
        cost = worst.next_cost
        if evaluations + cost > accuracy.max_nodes:
            break
        if worst.is_finest:
            stretches.remove(worst)
            stretches += worst.halves(value(worst.middle))
        else:
            worst.refine()
        evaluations += cost
    stretches.sort(key=lambda one: one.start)
    parts = [torch.stack(same).sum(0) for same in zip(*(one.parts for one in stretches), strict=True)]
    return BisectedIntegral(
        parts=parts,
        residual=change - predict(parts),
        nodes=torch.tensor(evaluations),
        positions=tuple(node for one in stretches for node in one.positions()),
        weights=tuple(weight for one in stretches for weight in one.weights()),
        by_nodes=by_nodes,
    )


class _Stretch:
    """A part [start, stop] of the path, the values at its ends, and its quadrature at some level."""

    def __init__(
        self, start: float, stop: float, before: float, after: float, evaluate: Evaluate, predict: Predict
    ) -> None:
        self.start, self.stop, self._before, self._after = start, stop, before, after
        self.middle = (start + stop) / 2
        self._evaluate, self._predict = evaluate, predict
        self._integrands: list[list[Tensor]] = []
        self._level = -1

    @property
    def change(self) -> float:
        """The exact change of the value."""
        return self._after - self._before

    @property
    def parts(self) -> list[Tensor]:
        """The integrals over the stretch."""
        together = [torch.stack(same) for same in zip(*self._integrands, strict=True)]
        weights = [torch.tensor(self.weights(), dtype=part.dtype, device=part.device) for part in together]
        return [torch.einsum("n,n...->...", *pair) for pair in zip(weights, together, strict=True)]

    @property
    def predicted(self) -> float:
        """The change that the integrals imply."""
        return float(self._predict(self.parts))

    @property
    def residual(self) -> float:
        """What the quadrature missed."""
        return self.change - self.predicted

    def positions(self) -> list[float]:
        """The nodes on the path."""
        return [self._position(node) for node in patterson.nodes(self._level)]

    def weights(self) -> list[float]:
        """Weights of `positions()`."""
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
        new = patterson.new_nodes(self._level)
        self._integrands += [self._evaluate(self._position(node), None) for node in new]

    def halves(self, at_middle: float) -> list[_Stretch]:
        """Both halves, with `HALF` nodes each."""
        rules = (self._evaluate, self._predict)
        first = _Stretch(self.start, self.middle, self._before, at_middle, *rules)
        second = _Stretch(self.middle, self.stop, at_middle, self._after, *rules)
        for half in (first, second):
            for _ in range(patterson.LEVELS.index(HALF) + 1):
                half.refine()
        return [first, second]

    def _position(self, node: float) -> float:
        return self.start + (self.stop - self.start) * node
