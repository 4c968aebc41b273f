"""What every quadrature takes and returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Evaluate", "Integral", "Predict"]

Evaluate = Callable[[float, Tensor | None], list[Tensor]]
"""(t, indices of the samples or None for all) → integrands at θ + t·u, for these samples alone."""
Predict = Callable[[list[Tensor]], Tensor]
"""integrals → the change of the value they imply: [n, O], or one number where samples are summed."""


@dataclass
class Integral:
    """Integrals over the path, t from 0 to 1, with their certificate.

    Attributes:
        parts: the integrals, same shapes as the integrands.
        residual: exact change − predicted change, in units of the value, shaped like the change.
        nodes: integrands evaluated: for each sample int64 [n], or one number where samples are summed.
    """

    parts: list[Tensor]
    residual: Tensor
    nodes: Tensor
