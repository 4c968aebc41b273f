"""LAMB (You et al., 2020): Adam's direction with decay inside, w = m̂ / (√v̂ + ε) + λ θ, and u = −lr T w with one T per tensor.

T, the trust ratio, is defined differently by different packages. It is observed: the factor by which the tensor moved,
−⟨u, w⟩ / (lr ⟨w, w⟩). Not in torch: an optimizer whose class is called Lamb or LAMB, with these options and the moments
`exp_avg` and `exp_avg_sq`. Those that clip by the global norm (`max_grad_norm`) divide all gradients by one number, which is
observed as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from explaind.optimizers.rule import After, Before, LinearRule, Options, Scalars, called


@dataclass(frozen=True)
class _Kept:
    theta: Tensor
    gradient: Tensor
    earlier: Tensor


def before(tensor: Before) -> _Kept:
    """θ_s, the gradient and the buffer before the update."""
    earlier = tensor.state.get("exp_avg")
    start = torch.zeros_like(tensor.theta) if earlier is None else earlier.clone()
    return _Kept(tensor.theta.clone(), tensor.gradient.clone(), start)


def _corrections(after: After) -> tuple[float, float]:
    """The bias corrections of both moments, 1 where they are not corrected; a scalar of w is part of T."""
    if not after.options.get("bias_correction", False):
        return 1.0, 1.0
    first, second = after.options["betas"]
    return 1 - first**after.count, (1 - second**after.count) ** 0.5


def _scaled(after: After) -> Tensor:
    """1 / (√v̂ + ε)."""
    second = after.state["exp_avg_sq"].sqrt().div_(_corrections(after)[1])
    return second.add_(after.options["eps"]).reciprocal_()


def trust(after: After) -> float:
    """T, from what the tensor moved by."""
    direction = after.state["exp_avg"] / _corrections(after)[0] * _scaled(after)
    direction = direction + after.options["weight_decay"] * after.kept.theta
    size = float(direction.double().square().sum()) * after.options["lr"]
    if not size:
        return 1.0
    moved = (after.theta.double() - after.kept.theta.double()).flatten()
    return -float(moved @ direction.double().flatten()) / size


def scalars(after: After) -> Scalars:
    """Adam's first moment, of gradients that the optimizer clipped itself: κ is what entered over the gradient."""
    o = after.options
    first = o["betas"][0]
    entered = (after.state["exp_avg"] - first * after.kept.earlier).double().flatten()
    given = after.kept.gradient.double().flatten()
    size = float(given @ given)
    averaged = 1 - first if o.get("grad_averaging", True) else 1.0
    clips = o.get("max_grad_norm") is not None
    kappa = float(entered @ given) / size if clips and size else averaged
    rate = o["lr"] / _corrections(after)[0]
    return Scalars(mu=first, kappa=kappa, rho=rate, decoupled=o["lr"] * o["weight_decay"])


def diagonal(after: After) -> Tensor:
    """P = T / (√v̂ + ε)."""
    return _scaled(after).mul_(trust(after))


def check(options: Options) -> tuple[str, str, str] | None:
    """Variants with another equation."""
    for option in ("caution", "decoupled_decay"):
        if options.get(option):
            return f"The option {option} of LAMB cannot be recorded", "False", "True"
    return None


RULE = LinearRule(
    "LAMB",
    called("Lamb", "LAMB", options=("lr", "betas", "eps", "weight_decay")),
    scalars,
    diagonal,
    buffer="exp_avg",
    before=before,
    trust=trust,
    check=check,
)
