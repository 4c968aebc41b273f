"""torch.optim.Adam and AdamW with amsgrad: P from the largest second moment so far, in the groups that ask for it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

from explaind.optimizers.rule import After, LinearRule, Scalars


def fits(optimizer: Optimizer) -> bool:
    """One of the two, with the option in some group; without it they have equations of their own."""
    return type(optimizer) in (torch.optim.Adam, torch.optim.AdamW) and any(
        group["amsgrad"] for group in optimizer.param_groups
    )


def scalars(after: After) -> Scalars:
    """Those of Adam or AdamW."""
    o = after.options
    beta, decay, decoupled = o["betas"][0], o["weight_decay"], o["decoupled_weight_decay"]
    return Scalars(
        mu=beta,
        kappa=1 - beta,
        rho=o["lr"] / (1 - beta**after.count),
        coupled=0.0 if decoupled else decay,
        decoupled=o["lr"] * decay if decoupled else 0.0,
    )


def diagonal(after: After) -> Tensor:
    """P = 1 / (√v̂ / √(1−β2^t) + ε), v̂ the running maximum."""
    second = after.state["max_exp_avg_sq" if after.options["amsgrad"] else "exp_avg_sq"]
    correction = (1 - after.options["betas"][1] ** after.count) ** 0.5
    return second.sqrt().div_(correction).add_(after.options["eps"]).reciprocal_()


RULE = LinearRule("AMSGrad", fits, scalars, diagonal, buffer="exp_avg")
