"""Lion (Chen et al., 2023): u = −lr sign(c) − lr λ θ with c = β1 b + (1−β1) d, b = β2 b + (1−β2) d.

sign(c) = c ⊙ 1/|c|, and c = (β1/β2) b' + (1 − β1/β2) d in terms of the buffer after the update. Not in torch: an optimizer
whose class is called Lion, with these options and the buffer `exp_avg`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from explaind.optimizers.rule import After, Before, LinearRule, Options, Scalars, called


def before(tensor: Before) -> Tensor:
    """c, from the buffer before the update."""
    beta = tensor.options["betas"][0]
    earlier = tensor.state.get("exp_avg")
    given = tensor.gradient * (1 - beta)
    return given if earlier is None else earlier.mul(beta).add_(given)


def scalars(after: After) -> Scalars:
    """c in terms of the buffer after the update."""
    o = after.options
    first, second = o["betas"]
    ratio = first / second
    return Scalars(
        mu=second,
        kappa=1 - second,
        rho=o["lr"] * ratio,
        sigma=o["lr"] * (1 - ratio),
        decoupled=o["lr"] * o["weight_decay"],
    )


def diagonal(after: After) -> Tensor:
    """P = 1/|c|, 0 where c = 0."""
    size = after.kept.abs()
    return torch.where(size > 0, size.reciprocal(), 0.0)


def check(options: Options) -> tuple[str, str, str] | None:
    """c is no combination of the buffer after the update if that forgets everything."""
    if options["betas"][1] > 0:
        return None
    return "Lion with a buffer that keeps nothing cannot be recorded", "β2 above 0", "0"


RULE = LinearRule(
    "Lion",
    called("Lion", options=("lr", "betas", "weight_decay")),
    scalars,
    diagonal,
    buffer="exp_avg",
    before=before,
    check=check,
)
