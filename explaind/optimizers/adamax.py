"""torch.optim.Adamax: Adam with the infinity norm, u = −lr / (1 − β1^t) · m / max(β2 w, |d| + ε)."""

from __future__ import annotations

import torch
from torch import Tensor

from explaind.optimizers.rule import After, LinearRule, Scalars, exactly


def scalars(after: After) -> Scalars:
    """Adam's first moment."""
    o = after.options
    beta = o["betas"][0]
    return Scalars(mu=beta, kappa=1 - beta, rho=o["lr"] / (1 - beta**after.count), coupled=o["weight_decay"])


def diagonal(after: After) -> Tensor:
    """P = 1 / w; ε is in w already."""
    return after.state["exp_inf"].reciprocal()


RULE = LinearRule("Adamax", exactly(torch.optim.Adamax), scalars, diagonal, buffer="exp_avg")
