"""What half precision leaves open between the gradients of single samples and those of whole batches.

Under autocast, a batch's gradient is rounded once, and each of its samples' gradients by itself: they add up only to rounding.
How much that is relative to an update is measured, not assumed: independent errors of eps ‖g_k‖ each, in units of the update.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from explaind.features.batched import BLOCK
from explaind.ledger.rebuild import rebuilt_updates

if TYPE_CHECKING:
    from explaind.attribution.problem import Problem

FACTOR = 8.0  # momentum adds up the roundings of several batches, and errors are not quite independent


def half_rounding(problem: Problem) -> float:
    """Relative difference between updates and the sum over their samples that half precision explains; 0 without autocast.

    The worst of three explained updates: FACTOR · eps · sqrt(Σ_k ‖(∂u/∂g) ⊙ g_k‖²) / ‖u‖.
    """
    if problem.gradients is None or not problem.steps or not problem.trajectory.autocast:
        return 0.0
    steps = problem.steps
    return max(_at(problem, s) for s in sorted({steps[0], steps[len(steps) // 2], steps[-1]}))


def _at(problem: Problem, s: int) -> float:
    update = next(rebuilt_updates(problem.ledger, problem.batch_gradient(), s, s + 1))
    theta = problem.gradients.parameters(s)
    squares = 0.0
    for batch, seen in zip(problem.trajectory.step(s).batches, problem.gradients.cotangents(s), strict=True):
        if batch.forward is None or batch.forward.mode.autocast is None:
            continue
        eps = torch.finfo(getattr(torch, batch.forward.mode.autocast)).eps
        for index in torch.arange(len(seen)).split(BLOCK) if len(seen) else ():
            moved = torch.cat(seen.take(index).gradients(theta), 1) * update.response
            squares += eps**2 * float(moved.square().sum())
    size = float(update.observed.norm())
    return FACTOR * squares**0.5 / size if size else 0.0
