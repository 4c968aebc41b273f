"""torch.optim.NAdam: Adam with Nesterov momentum, whose coefficients change from update to update.

μ_t = β1 (1 − 0.96^{t·momentum_decay} / 2),  M_t = Π_{i≤t} μ_i
u = −lr ( (1−μ_t) / (1−M_t) · d + μ_{t+1} / (1−M_t μ_{t+1}) · m ) / (√(v / (1−β2^t)) + ε)
"""

from __future__ import annotations

import torch
from torch import Tensor

from explaind.optimizers.rule import After, LinearRule, Scalars, exactly


def scalars(after: After) -> Scalars:
    """M_t as the optimizer keeps it."""
    o, t = after.options, after.count
    beta = o["betas"][0]
    now = beta * (1.0 - 0.5 * (0.96 ** (t * o["momentum_decay"])))
    following = beta * (1.0 - 0.5 * (0.96 ** ((t + 1) * o["momentum_decay"])))
    product = float(after.state["mu_product"])
    decay, decoupled = o["weight_decay"], o["decoupled_weight_decay"]
    return Scalars(
        mu=beta,
        kappa=1 - beta,
        rho=o["lr"] * following / (1.0 - product * following),
        sigma=o["lr"] * (1.0 - now) / (1.0 - product),
        coupled=0.0 if decoupled else decay,
        decoupled=o["lr"] * decay if decoupled else 0.0,
    )


def diagonal(after: After) -> Tensor:
    """P, as Adam's."""
    correction = 1 - after.options["betas"][1] ** after.count
    return after.state["exp_avg_sq"].div(correction).sqrt_().add_(after.options["eps"]).reciprocal_()


RULE = LinearRule("NAdam", exactly(torch.optim.NAdam), scalars, diagonal, buffer="exp_avg")
