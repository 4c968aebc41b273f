"""Nested nodes with halving: few nodes where the path is smooth, many at a bend alone, and a residual that is the exact one."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from explaind.errors import ConfigError
from explaind.features.quadrature import Accuracy, BisectedIntegral, bisected


def integrate(
    derivative: Callable[[float], float],
    value: Callable[[float], float],
    accuracy: Accuracy,
    rounding: float = 0.0,
) -> tuple[BisectedIntegral, list[float]]:
    """The integral of (f′, 2 f′) with the positions that were evaluated."""
    evaluated: list[float] = []

    def evaluate(t: float, _: Tensor | None) -> list[Tensor]:
        evaluated.append(t)
        return [torch.tensor([[derivative(t)]], dtype=torch.float64), torch.tensor(2 * derivative(t))]

    change = torch.tensor(value(1.0) - value(0.0), dtype=torch.float64)
    integral = bisected(evaluate, lambda parts: parts[0].sum(), change, value, accuracy, rounding=rounding)
    return integral, evaluated


@pytest.mark.parametrize(("degree", "nodes"), [(1, 1), (5, 3), (11, 7)])
def test_polynomials_need_no_halving(degree: int, nodes: int) -> None:
    found, evaluated = integrate(
        lambda t: (degree + 1) * t**degree, lambda t: t ** (degree + 1), Accuracy(1e-13)
    )
    assert int(found.nodes) == len(evaluated) == nodes
    assert list(found.by_nodes) == [count for count in (1, 3, 7) if count <= nodes]
    assert float(found.parts[0]) == pytest.approx(1, abs=1e-13) and float(found.parts[1]) == pytest.approx(2)
    assert abs(float(found.residual)) < 1e-13


def bend(t: float) -> float:
    return math.atan(200 * (t - 0.3))


def slope(t: float) -> float:
    return 200 / (1 + (200 * (t - 0.3)) ** 2)


def test_a_bend_is_halved_down_to() -> None:
    found, evaluated = integrate(slope, bend, Accuracy(1e-6, max_nodes=500))
    assert abs(float(found.residual)) <= 1e-6 * (bend(1) - bend(0))
    assert int(found.nodes) == len(evaluated) == len(set(evaluated)) <= 500
    assert set(found.positions) <= set(evaluated) and list(found.positions) != evaluated
    rule = sum(w * slope(t) for t, w in zip(found.positions, found.weights, strict=True))
    assert rule == pytest.approx(float(found.parts[0]), rel=1e-12)
    assert sum(found.weights) == pytest.approx(1, abs=1e-12)
    near = [t for t in found.positions if abs(t - 0.3) < 0.05]
    assert len(near) > len(found.positions) / 2, "a tenth of the path holds the bend, and most of the nodes"


@pytest.mark.parametrize(("most", "used"), [(1, 1), (2, 1), (3, 3), (7, 7), (12, 7), (13, 13), (20, 17)])
def test_the_most_nodes_are_kept_to_and_the_rest_is_reported(most: int, used: int) -> None:
    found, evaluated = integrate(slope, bend, Accuracy(0.0, max_nodes=most))
    assert int(found.nodes) == len(evaluated) == used
    assert float(found.residual) == bend(1) - bend(0) - float(found.parts[0]) != 0


def test_fewest_nodes() -> None:
    assert int(integrate(lambda t: 1.0, lambda t: t, Accuracy(min_nodes=7))[0].nodes) == 7


def test_nothing_is_halved_for_rounding() -> None:
    found, _ = integrate(slope, bend, Accuracy(0.0, max_nodes=500), rounding=10.0)
    assert int(found.nodes) == 7


@pytest.mark.parametrize(
    "options", [{"relative_tolerance": -1.0}, {"max_nodes": 0}, {"min_nodes": 1.5}, {"max_nodes": "3"}]
)
def test_an_accuracy_that_means_nothing(options: dict) -> None:
    with pytest.raises(ConfigError, match="out of range"):
        Accuracy(**options)
