"""Sums that do not depend on their order: whole numbers of a small quantum, added without rounding.

An influence v, in units of the target, is rounded once to the nearest multiple of 2^-40 (9e-13, far below the rounding of the
forward pass that it came from), q = round(2^40 v), and kept as int64. Whole numbers add exactly, so that Σ q has the same bits
however its summands are grouped and ordered; 2^-40 Σ q is turned into float64 once, at the end. Sums of floating-point numbers
have neither property.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from explaind.errors import QueryError

__all__ = ["LIMIT", "QUANTUM", "check_reach", "from_quanta", "to_quanta"]

QUANTUM = 2.0**-40
LIMIT = 2.0**22
"""Sum of absolute values, in units of the target, below which no partial sum leaves int64: half of its 2^63 quanta."""


def check_reach(largest: np.ndarray) -> None:
    """Refuse summands of which some sum could leave the range of int64, or that are no numbers.

    Args:
        largest: bounds of the summands' absolute values, in units of the target.

    Raises:
        QueryError: one is NaN or infinite, or together they reach `LIMIT`.
    """
    total = float(np.sum(largest, dtype=np.float64))
    if not total < LIMIT:
        raise QueryError(
            "The influences cannot be added up exactly.",
            expected=f"finite numbers, whose largest of every update add up to less than {LIMIT:,.0f}",
            got=f"{total:.4g}, in units of the target",
            remedy="Look at the target along the run: it overflows, or has to be scaled down.",
        )


def to_quanta(values: Tensor) -> Tensor:
    """Values in units of the target, checked by `check_reach`, as whole numbers of quanta: int64 of the same shape."""
    return (values.double() / QUANTUM).round_().to(torch.int64)


def from_quanta(quanta: np.ndarray) -> np.ndarray:
    """Whole numbers of quanta as float64, rounded once where they have more than 53 bits."""
    return quanta.astype(np.float64) * QUANTUM
