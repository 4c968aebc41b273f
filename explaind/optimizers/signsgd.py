"""signSGD with momentum, Signum (Bernstein et al., 2018): b = β b + (1−β) d, u = −lr sign(b) − lr λ θ; sign(b) = b ⊙ 1/|b|.

Not in torch: an optimizer whose class is called SignSGD or Signum, with these options and the buffer `momentum_buffer`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from explaind.optimizers.rule import After, Before, LinearRule, Scalars, called


def before(tensor: Before) -> Tensor:
    """The gradient, for runs without momentum."""
    return tensor.gradient.abs()


def scalars(after: After) -> Scalars:
    """A positive factor of b changes no sign, so b = β b + d is as good."""
    o = after.options
    decoupled = o["lr"] * o.get("weight_decay", 0.0)
    if o["momentum"] == 0:
        return Scalars(sigma=o["lr"], decoupled=decoupled)
    return Scalars(mu=o["momentum"], kappa=1 - o["momentum"], rho=o["lr"], decoupled=decoupled)


def diagonal(after: After) -> Tensor:
    """P = 1/|b|, 0 where b = 0."""
    size = after.kept if after.options["momentum"] == 0 else after.state["momentum_buffer"].abs()
    return torch.where(size > 0, size.reciprocal(), 0.0)


RULE = LinearRule(
    "SignSGD",
    called("SignSGD", "Signum", options=("lr", "momentum")),
    scalars,
    diagonal,
    buffer="momentum_buffer",
    before=before,
)
