"""The nested rules are exact up to their degree, and nest."""

from __future__ import annotations

import pytest

from explaind.features.quadrature import patterson


@pytest.mark.parametrize(("level", "degree"), [(0, 1), (1, 5), (2, 11)])
def test_degree(level: int, degree: int) -> None:
    nodes, weights = patterson.nodes(level), patterson.weights(level)
    assert len(nodes) == patterson.LEVELS[level] and sum(weights) == pytest.approx(1, abs=1e-14)
    assert all(0 < node < 1 for node in nodes) and all(weight > 0 for weight in weights)
    for power in range(degree + 1):
        found = sum(weight * node**power for node, weight in zip(nodes, weights, strict=True))
        assert found == pytest.approx(1 / (power + 1), abs=1e-13), power
    found = sum(weight * node ** (degree + 1) for node, weight in zip(nodes, weights, strict=True))
    assert found != pytest.approx(1 / (degree + 2), abs=1e-11), "the first degree beyond"


def test_levels_nest() -> None:
    for level in range(1, len(patterson.LEVELS)):
        earlier = patterson.nodes(level - 1)
        assert patterson.nodes(level)[: len(earlier)] == earlier
        assert not set(patterson.new_nodes(level)) & set(earlier)
