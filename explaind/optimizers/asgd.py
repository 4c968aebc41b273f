"""torch.optim.ASGD: u = −η_s d − λ η_s θ, with the η that the update before left. Its average `ax` is not the model."""

from __future__ import annotations

import torch
from torch import Tensor

from explaind.optimizers.rule import After, Before, LinearRule, Scalars, exactly


def before(tensor: Before) -> float:
    """η_s: lr at first."""
    return float(tensor.state["eta"]) if "eta" in tensor.state else tensor.options["lr"]


def scalars(after: After) -> Scalars:
    """No buffer; two decays, one in the gradient and one beside it."""
    rate = after.kept
    return Scalars(sigma=rate, coupled=after.options["weight_decay"], decoupled=after.options["lambd"] * rate)


def diagonal(after: After) -> Tensor:
    """P = 1."""
    return torch.ones_like(after.theta)


RULE = LinearRule("ASGD", exactly(torch.optim.ASGD), scalars, diagonal, before=before)
