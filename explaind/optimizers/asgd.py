"""torch.optim.ASGD: u = −η_s d − λ η_s θ, with the η that the update before left. Its average `ax` is not the model."""

from __future__ import annotations

import torch
from torch import Tensor

from explaind.optimizers.rule import After, Before, LinearRule, Scalars, exactly


def before(tensor: Before) -> float:
    """η_s: lr at first, in the precision in which torch keeps it."""
    if "eta" in tensor.state:
        return float(tensor.state["eta"])
    double = torch.get_default_dtype() == torch.float64
    return float(torch.tensor(tensor.options["lr"], dtype=torch.float64 if double else torch.float32))


def scalars(after: After) -> Scalars:
    """No buffer; two decays, one in the gradient and one beside it."""
    rate = after.kept
    return Scalars(sigma=rate, coupled=after.options["weight_decay"], decoupled=after.options["lambd"] * rate)


def diagonal(after: After) -> Tensor:
    """P = 1."""
    return torch.ones_like(after.theta)


RULE = LinearRule("ASGD", exactly(torch.optim.ASGD), scalars, diagonal, before=before)
