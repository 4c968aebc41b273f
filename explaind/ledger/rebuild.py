"""Rebuild updates from recomputed gradients and compare them with the observed ones: the replay error.

Nothing is attributed before this comparison passed: a loss, data set, model or option that is not the recorded one shows
here, in the units of the update, as a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from explaind.errors import LedgerError
from explaind.features.gradients import BatchGradient
from explaind.ledger.terms import Ledger

DECISIVE = 0.1  # relative rounding above this hides what the comparison should show


@dataclass(frozen=True)
class ReplayError:
    """Difference between the rebuilt and the observed update of one step.

    Attributes:
        step: s.
        absolute: max_p |û_s − u_s|, parameter units.
        relative: ‖û_s − u_s‖₂ / ‖u_s‖₂.
        rounding: the relative difference that storing θ in its own precision explains, 4 eps ‖θ_s‖₂ / ‖u_s‖₂.
    """

    step: int
    absolute: float
    relative: float
    rounding: float

    def passes(self, tolerance: float) -> bool:
        """Is the difference within the tolerance plus what rounding explains? NaN never passes."""
        return self.relative <= tolerance + self.rounding

    def decides(self, tolerance: float) -> bool:
        """Could the comparison have failed? Not if the update is so small that rounding of θ hides it, and it differs."""
        return self.relative <= tolerance or self.rounding <= DECISIVE


def rebuild(ledger: Ledger, gradient: BatchGradient, start: int, stop: int) -> Iterator[ReplayError]:
    """Rebuild u_s for s in [start, stop) by the optimizer's own recursion from recomputed batch gradients.

    From start = 0 the buffer is the recorded initial one. Later starts infer it from the observed update before, which
    makes a check of few updates in the middle of a run cheap and loses no accuracy in units of u.
    """
    buffer = _buffer_before(ledger, gradient, start, stop)
    for s in range(start, stop):
        c, expand = ledger.coefficients(s), ledger.expand
        theta, observed = ledger.parameters(s), ledger.update(s)
        entering = _entering(ledger, gradient, s)
        buffer = expand(c.mu) * buffer + expand(c.kappa) * entering
        rebuilt = -ledger.preconditioner(s) * (expand(c.rho) * buffer + expand(c.sigma) * entering)
        rebuilt = rebuilt - expand(c.decoupled) * theta
        difference = rebuilt - observed
        size = observed.norm().item()
        stored = torch.finfo(ledger.trajectory.layout.dtype).eps
        scale = size if size > 0 else 1.0
        yield ReplayError(
            step=s,
            absolute=difference.abs().max().item(),
            relative=difference.norm().item() / scale,
            rounding=4 * stored * theta.norm().item() / scale,
        )


def check(
    ledger: Ledger, gradient: BatchGradient, start: int, stop: int, *, tolerance: float, updates: int = 2
) -> None:
    """Rebuild a few updates at the start of the run and at start, middle and end of [start, stop).

    Raises:
        LedgerError: one of them differs by more than `tolerance`, relative to its length; or all of them are so small
            that the precision in which θ was stored hides whether they do.
    """
    total = ledger.trajectory.n_steps
    decided = False
    beginnings = {0, start, (start + stop) // 2, max(start, stop - updates)}
    for beginning in sorted(b for b in beginnings if b < total):
        for error in rebuild(ledger, gradient, beginning, min(beginning + updates, total)):
            if not error.passes(tolerance):
                raise replay_refusal(error, tolerance)
            decided = decided or error.decides(tolerance)
    if not decided:
        raise LedgerError(
            "The updates are too small to be checked against the recorded batches, so nothing is attributed.",
            expected=f"updates that rounding of the stored parameters changes by less than {DECISIVE:.0%}",
            got=f"updates stored in {str(ledger.trajectory.layout.dtype).removeprefix('torch.')} that it hides",
            remedy="Train in float64, or with a larger learning rate; to explain the run unchecked, leave train out.",
        )


def replay_refusal(error: ReplayError, tolerance: float) -> LedgerError:
    """The refusal that names the step, the size of the difference and what usually causes it."""
    return LedgerError(
        f"Update {error.step} cannot be rebuilt from the recorded batch, so nothing is attributed.",
        expected=f"a relative difference of at most {tolerance:g} (rounding allows {error.rounding:.1e} more)",
        got=f"{error.relative:.3g} (largest entry {error.absolute:.3g})",
        remedy="Pass the same loss function (with its reduction, label smoothing and class weights), model and training "
        "samples that the run used, and give Recorder.batch its weights where the loop scales the loss; augmented "
        "inputs must be passed as they were seen.",
    )


def _entering(ledger: Ledger, gradient: BatchGradient, s: int) -> Tensor:
    """d_s = ± c_s g_s + coupled θ_s, [D]."""
    coupled = ledger.expand(ledger.coefficients(s).coupled)
    return ledger.entering(s) * gradient(s) + coupled * ledger.parameters(s)


def _buffer_before(ledger: Ledger, gradient: BatchGradient, start: int, stop: int) -> Tensor:
    """b_start [D]: recorded, or inferred from an update before, wherever it acts on an update in [start, stop).

    An update with ρ = 0 (a learning rate of zero) says nothing about the buffer: then an earlier one does, and the buffer
    is rolled on from there.
    """
    groups = range(len(ledger.coefficients(start).rho)) if start < stop else ()
    acting = [g for g in groups if any(ledger.coefficients(s).rho[g] for s in range(start, stop))]
    known = start
    while known > 0 and not all(ledger.coefficients(known - 1).rho[g] for g in acting):
        known -= 1
    buffer = ledger.moved(ledger.trajectory.initial_buffer)
    if known > 0:
        buffer = _buffer_after(ledger, gradient, known - 1)
    for s in range(known, start):
        c, expand = ledger.coefficients(s), ledger.expand
        buffer = expand(c.mu) * buffer + expand(c.kappa) * _entering(ledger, gradient, s)
    return buffer


def _buffer_after(ledger: Ledger, gradient: BatchGradient, s: int) -> Tensor:
    """b_{s+1} = −(u + decoupled θ + P σ d) / (P ρ) of update s; zero where ρ = 0."""
    c, expand = ledger.coefficients(s), ledger.expand
    scaled = ledger.preconditioner(s)
    moved = ledger.update(s) + expand(c.decoupled) * ledger.parameters(s)
    if any(c.sigma):
        moved = moved + scaled * expand(c.sigma) * _entering(ledger, gradient, s)
    scale = torch.zeros_like(moved) + scaled * expand(c.rho)
    return torch.where(scale == 0, 0.0, -moved / scale)
