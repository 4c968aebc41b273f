"""Nested quadrature of high order on [0, 1], for integrands that are smooth along the path of an update.

Patterson's rules with 1, 3 and 7 nodes each contain the nodes of the one before: the midpoint, Gauss-Legendre's three, and their
extension. They integrate polynomials of degree 1, 5 and 11 exactly (T. N. L. Patterson, The optimum addition of points to
quadrature formulae, Mathematics of Computation 22, 1968). Networks with kinks (ReLU) gain nothing from the order: for those
there are midpoints.
"""

from __future__ import annotations

from functools import cache

import numpy as np

__all__ = ["LEVELS", "new_nodes", "nodes", "weights"]

#: Numbers of nodes, level by level.
LEVELS = (1, 3, 7)
# The nodes that each level adds on [0, 1), for the interval [−1, 1]; they are symmetric.
_ADDED = (
    (0.0,),
    (0.774596669241483377035853079956480,),
    (0.434243749346802558002071502844628, 0.960491268708020283423507092629080),
)


def new_nodes(level: int) -> list[float]:
    """The nodes on [0, 1] that level `level` (0, 1, …) adds to those before."""
    signed = [sign * node for node in _ADDED[level] for sign in ((1.0,) if node == 0 else (-1.0, 1.0))]
    return [(1 + node) / 2 for node in signed]


def nodes(level: int) -> list[float]:
    """All nodes of a level, in the order in which the levels add them."""
    return [node for earlier in range(level + 1) for node in new_nodes(earlier)]


@cache
def weights(level: int) -> tuple[float, ...]:
    """Weights of `nodes(level)`; they add up to 1.

    The rule is interpolatory: Legendre polynomials below the number of nodes are integrated exactly, which determines the
    weights.
    """
    at = 2 * np.asarray(nodes(level)) - 1
    values = np.polynomial.legendre.legvander(at, len(at) - 1).T
    integrals = np.zeros(len(at))
    integrals[0] = 1.0  # the mean of P_0; all other Legendre polynomials have mean 0
    return tuple(np.linalg.solve(values, integrals).tolist())
