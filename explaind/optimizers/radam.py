"""torch.optim.RAdam: Adam whose first updates, until its second moment is known well enough, divide by nothing.

l_t = l_∞ − 2 t β2^t / (1−β2^t),  l_∞ = 2 / (1−β2) − 1
u = −lr / (1−β1^t) · m ⊙ P,   P = √(1−β2^t) / (√v + ε) · √( (l_t−4)(l_t−2) l_∞ / ((l_∞−4)(l_∞−2) l_t) ) if l_t > 5, else 1
"""

from __future__ import annotations

import torch
from torch import Tensor

from explaind.optimizers.rule import After, LinearRule, Scalars, exactly


def scalars(after: After) -> Scalars:
    """Adam's first moment."""
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
    """P of the branch that this update took."""
    t, beta = after.count, after.options["betas"][1]
    correction = 1 - beta**t
    most = 2 / (1 - beta) - 1
    length = most - 2 * t * (beta**t) / correction
    second = after.state["exp_avg_sq"]
    if length <= 5.0:
        return torch.ones_like(second)
    rectified = ((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)) ** 0.5
    return second.sqrt().add_(after.options["eps"]).reciprocal_().mul_(correction**0.5 * rectified)


RULE = LinearRule("RAdam", exactly(torch.optim.RAdam), scalars, diagonal, buffer="exp_avg")
