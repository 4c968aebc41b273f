"""Certified quadrature along the straight path of one update.

The exact change of a value over an update, and over any stretch of its path, is known from forward passes at the ends, so the
error of every quadrature is known too. Both rules take the integrands and what they imply for the value, add nodes until the
error is small enough, and return an `Integral`: the integrals, the residual, and the nodes.

- `midpoint`: midpoints, tripled sample by sample. For networks with kinks (ReLU), which gain nothing from a higher order.
- `bisection`: Patterson's nested nodes (`patterson`), on halved stretches where those are not enough. For smooth paths.
"""

from __future__ import annotations

from explaind.features.quadrature.bisection import Accuracy, BisectedIntegral, bisected
from explaind.features.quadrature.integral import Evaluate, Integral, Predict
from explaind.features.quadrature.midpoint import adaptive, fixed

__all__ = [
    "Accuracy",
    "BisectedIntegral",
    "Evaluate",
    "Integral",
    "Predict",
    "adaptive",
    "bisected",
    "fixed",
]
