"""torch.optim.Adadelta: u = −lr √(a_s + ε) / √(v_{s+1} + ε) ⊙ d, with a the average of squared u / lr before this update."""

from __future__ import annotations

import torch
from torch import Tensor

from explaind.optimizers.rule import After, Before, LinearRule, Scalars, exactly


def before(tensor: Before) -> Tensor:
    """√(a_s + ε); a is 0 at first."""
    earlier = tensor.state.get("acc_delta")
    earlier = torch.zeros_like(tensor.theta) if earlier is None else earlier
    return earlier.add(tensor.options["eps"]).sqrt_()


def scalars(after: After) -> Scalars:
    """No buffer."""
    return Scalars(sigma=after.options["lr"], coupled=after.options["weight_decay"])


def diagonal(after: After) -> Tensor:
    """P = √(a_s + ε) / √(v_{s+1} + ε)."""
    return after.kept / after.state["square_avg"].add(after.options["eps"]).sqrt_()


RULE = LinearRule("Adadelta", exactly(torch.optim.Adadelta), scalars, diagonal, before=before)
