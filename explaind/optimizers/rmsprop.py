"""torch.optim.RMSprop, centered or not, with and without momentum.

v = α v + (1−α) d²,  ḡ = α ḡ + (1−α) d,  Q = 1 / (√(v − ḡ²) + ε)   (without ḡ² where it is not centered)
b = momentum · b + Q ⊙ d,  u = −lr b;  without momentum u = −lr Q ⊙ d
"""

from __future__ import annotations

import torch
from torch import Tensor

from explaind.optimizers.rule import After, LinearRule, Scalars, exactly


def scalars(after: After) -> Scalars:
    """The division comes before the buffer; weight decay enters the gradient."""
    o = after.options
    if o["momentum"] > 0:
        return Scalars(mu=o["momentum"], rho=o["lr"], coupled=o["weight_decay"])
    return Scalars(sigma=o["lr"], coupled=o["weight_decay"])


def diagonal(after: After) -> Tensor:
    """Q, from the averages after the update."""
    average = after.state["square_avg"]
    if after.options["centered"]:
        mean = after.state["grad_avg"]
        average = average.addcmul(mean, mean, value=-1)
    return average.sqrt().add_(after.options["eps"]).reciprocal_()


RULE = LinearRule(
    "RMSprop",
    exactly(torch.optim.RMSprop),
    scalars,
    diagonal,
    side="gradient",
    buffer="momentum_buffer",
    flags=("centered",),
)
