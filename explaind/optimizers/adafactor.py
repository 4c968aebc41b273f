"""torch.optim.Adafactor: second moments by rows and columns, an update that is clipped, and no momentum.

V = R C / mean(R) of a matrix (R, C running means of d² by row and column), V the running mean of d² of a vector
P = 1 / √max(V, ε1²) · α / max(1, rms(d / √V) / clip),   α = max(ε2, rms(θ_s)) min(lr, 1/√t),   u = −P ⊙ d − lr λ θ
"""

from __future__ import annotations

import torch
from torch import Tensor

from explaind.optimizers.rule import After, Before, LinearRule, Scalars, exactly


def before(tensor: Before) -> tuple[Tensor, float]:
    """The gradient, for its clipping, and rms(θ_s)."""
    return tensor.gradient.clone(), tensor.theta.norm(2).item() / tensor.theta.numel() ** 0.5


def scalars(after: After) -> Scalars:
    """The step size differs from tensor to tensor, so it is in P."""
    return Scalars(sigma=1.0, decoupled=after.options["lr"] * after.options["weight_decay"])


def diagonal(after: After) -> Tensor:
    """P with the step size and the clipping factor."""
    o, state = after.options, after.state
    gradient, size = after.kept
    least, relative = o["eps"]
    least = torch.finfo(after.theta.dtype).eps if least is None else least
    if gradient.dim() > 1:
        variance = state["row_var"] @ state["col_var"]
        variance.div_(state["row_var"].mean(dim=-2, keepdim=True).clamp_(min=least))
    else:
        variance = state["variance"].clone()
    scale = variance.clamp_(min=least * least).rsqrt_()
    clipped = max(1.0, (scale * gradient).norm(2).item() / (gradient.numel() ** 0.5 * o["d"]))
    rate = max(relative, size) * min(o["lr"], 1 / after.count**0.5)
    return scale.mul_(rate / clipped)


RULE = LinearRule("Adafactor", exactly(torch.optim.Adafactor), scalars, diagonal, before=before)
