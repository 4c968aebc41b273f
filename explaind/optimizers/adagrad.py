"""torch.optim.Adagrad: u = −lr / (1 + (t−1) lr_decay) · d / (√(Σ d²) + ε)."""

from __future__ import annotations

import torch
from torch import Tensor

from explaind.optimizers.rule import After, LinearRule, Scalars, exactly


def scalars(after: After) -> Scalars:
    """No buffer."""
    o = after.options
    return Scalars(sigma=o["lr"] / (1 + (after.count - 1) * o["lr_decay"]), coupled=o["weight_decay"])


def diagonal(after: After) -> Tensor:
    """P, from the sum of squares that includes this update."""
    return after.state["sum"].sqrt().add_(after.options["eps"]).reciprocal_()


RULE = LinearRule("Adagrad", exactly(torch.optim.Adagrad), scalars, diagonal)
