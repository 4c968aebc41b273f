"""What is usually wrong with an update that cannot be rebuilt, tried one by one.

With û − u the difference in the update and R = ∂û/∂g its response to the gradient, the gradient that is missing is
e = (u − û) / R. A reason is named only if it explains e.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from explaind.features.gradients import BatchGradient
from explaind.ledger.rebuild import Rebuilt
from explaind.ledger.terms import Ledger

EXPLAINED = 0.05  # share of the missing gradient that a reason may leave unexplained
NEAR = 5  # updates before and after whose batches are tried


def diagnose(ledger: Ledger, gradient: BatchGradient, update: Rebuilt) -> str:
    """One sentence on what the update looks like, or that nothing usual explains it."""
    s = update.step
    known = update.response != 0
    missing = torch.where(known, (update.observed - update.rebuilt) / update.response, 0.0)
    present = torch.where(known, gradient(s), 0.0)
    theta = torch.where(known, update.theta, 0.0)
    again = torch.where(known, gradient.at(s, gradient.batches(s)), 0.0)
    if not torch.equal(present, again) and float((present - again).norm()) > 1e-3 * float(missing.norm()):
        return "Computed twice, the gradient differs: something random is active, such as dropout in the forward pass."
    factor = _share(missing + present, present)
    if factor is not None:
        return f"It fits if the loss was multiplied by {factor:.6g}: pass that as weights to Recorder.batch, or scale loss_fn."
    for other, name in _others(ledger, gradient, s):
        batch = torch.where(known, other(), 0.0)
        if _share(missing + present, batch, 1.0) is not None:
            return f"It fits the batch of update {name} instead of its own: batches were announced in another order."
        if _share(missing, batch, 1.0) is not None:
            return f"It fits if the batch of update {name} entered too: it was not announced, or gradients were not reset."
    penalty = _share(missing, theta)
    if penalty is not None:
        return (
            f"It fits a penalty on the parameters, {penalty:.3g} θ in the gradient: the trained loss had one, loss_fn has not "
            "(Recorder.penalty announces it)."
        )
    for index, part in enumerate(_parts(gradient, s)):
        if _share(missing, -torch.where(known, part, 0.0), 1.0) is not None:
            return (
                f"It fits if micro-batch {index} did not enter: its step was skipped or its gradient reset."
            )
    lower = _under_autocast(gradient, s)
    if lower is not None and float((missing + present - torch.where(known, lower, 0.0)).norm()) < 0.3 * float(
        missing.norm()
    ):
        return "It fits better under autocast: the run used lower precision than the recorded parameters."
    return (
        "None of the usual reasons explains it (a factor, a penalty, the batch of another update, a micro-batch too many, noise, "
        "autocast): look for another loss, model or data set."
    )


def _share(target: Tensor, part: Tensor, fixed: float | None = None) -> float | None:
    """c with target ≈ c · part (c = `fixed` if given), or None if that leaves more than `EXPLAINED` of the target."""
    size = float(part.square().sum())
    if size == 0 or float(target.norm()) == 0:
        return None
    factor = float(target @ part) / size if fixed is None else fixed
    left = float((target - factor * part).norm()) / float(target.norm())
    return factor if left <= EXPLAINED else None


def _others(ledger: Ledger, gradient: BatchGradient, s: int) -> list[tuple[Callable[[], Tensor], int]]:
    """Gradients at θ_s of the batches that were announced for updates near s."""
    near = range(max(0, s - NEAR), min(ledger.trajectory.n_steps, s + NEAR + 1))
    return [
        (lambda other=other: gradient.at(s, gradient.batches(other)), other) for other in near if other != s
    ]


def _parts(gradient: BatchGradient, s: int) -> list[Tensor]:
    batches = gradient.batches(s)
    return [gradient.at(s, (batch,)) for batch in batches] if len(batches) > 1 else []


def _under_autocast(gradient: BatchGradient, s: int) -> Tensor | None:
    try:
        with torch.autocast("cpu", torch.bfloat16):
            return gradient.at(s, gradient.batches(s))
    except Exception:  # a model that cannot run so was not trained so
        return None
