"""Rebuild updates from recomputed gradients and compare them with the observed ones: the replay error.

Nothing is attributed before this comparison passed for every update that the answer rests on: a loss, data set, model or option
that is not the recorded one shows here, in the units of the update, as a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass

import torch
from torch import Tensor

from explaind.features.gradients import BatchGradient
from explaind.ledger.terms import Ledger
from explaind.runtime.durable import section

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


@dataclass(frozen=True)
class Rebuilt:
    """One update, made again from a recomputed gradient.

    Attributes:
        step: s.
        theta: θ_s, [D].
        observed, rebuilt: u_s and û_s, [D].
        response: ∂û_s/∂g_s, elementwise, [D]: what a change of the gradient does to the update.
        buffer: b_{s+1}, the momentum buffer after the update, [D].
    """

    step: int
    theta: Tensor
    observed: Tensor
    rebuilt: Tensor
    response: Tensor
    buffer: Tensor

    def error(self, stored: torch.dtype) -> ReplayError:
        """The difference, for parameters that were stored in this dtype."""
        difference = self.rebuilt - self.observed
        size = self.observed.norm().item()
        scale = size if size > 0 else 1.0
        return ReplayError(
            step=self.step,
            absolute=difference.abs().max().item() if difference.numel() else 0.0,
            relative=difference.norm().item() / scale,
            rounding=4 * torch.finfo(stored).eps * self.theta.norm().item() / scale,
        )


def rebuild(ledger: Ledger, gradient: BatchGradient, start: int, stop: int) -> Iterator[ReplayError]:
    """Rebuild u_s for s in [start, stop) by the optimizer's own recursion from recomputed batch gradients.

    From start = 0 the buffer is the recorded initial one. Later starts infer it from the observed update before, which
    makes a check in the middle of a run cheap and loses no accuracy in units of u.
    """
    kept = section(f"replay-{start}-{stop}")  # the same range is rebuilt once in a job, or found to be known
    errors, buffer = kept.load() or ([], None)
    yield from (ReplayError(*error) for error in errors)
    for update in rebuilt_updates(ledger, gradient, start + len(errors), stop, buffer):
        error = update.error(ledger.trajectory.layout.dtype)
        yield error
        errors.append(astuple(error))
        kept.offer(lambda so_far=(errors, update.buffer): so_far)
    kept.close(lambda: (errors, None))


def rebuilt_updates(
    ledger: Ledger, gradient: BatchGradient, start: int, stop: int, buffer: Tensor | None = None
) -> Iterator[Rebuilt]:
    """The updates of `rebuild` themselves; `buffer` [D] is that before update `start`, if it is known."""
    if buffer is None:
        buffer = buffer_before(ledger, gradient, start, stop)
    for s in range(start, stop):
        c, expand, theta = ledger.coefficients(s), ledger.expand, ledger.parameters(s)
        factor = ledger.entering(s)
        entering = factor * gradient(s) + ledger.sampleless(s)
        buffer = expand(c.mu) * buffer + expand(c.kappa) * entering
        scaled = -ledger.preconditioner(s) * torch.ones_like(theta)
        yield Rebuilt(
            step=s,
            theta=theta,
            observed=ledger.update(s),
            rebuilt=scaled * (expand(c.rho) * buffer + expand(c.sigma) * entering)
            - ledger.decoupled(s) * theta,
            response=scaled * (expand(c.rho) * expand(c.kappa) + expand(c.sigma)) * factor,
            buffer=buffer,
        )


def _entering(ledger: Ledger, gradient: BatchGradient, s: int) -> Tensor:
    """d_s = ± c_s g_s + coupled θ_s, the penalty's gradient in g_s, [D]."""
    return ledger.entering(s) * gradient(s) + ledger.sampleless(s)


def buffer_before(ledger: Ledger, gradient: BatchGradient, start: int, stop: int) -> Tensor:
    """b_start [D], the momentum buffer before update `start`: recorded, or inferred from an update before.

    It is right wherever it acts on an update in [start, stop).

    An update with ρ = 0 (a learning rate of zero) does not determine the buffer: then an earlier one does, and the buffer
    is rolled on from there.
    """
    if ledger.trajectory.pauses is not None:
        return _buffer_by_tensor(ledger, gradient, start, stop)
    groups = range(len(ledger.coefficients(start).rho)) if start < stop else ()
    acting = [g for g in groups if any(ledger.coefficients(s).rho[g] for s in range(start, stop))]
    known = start
    while known > 0 and not all(ledger.coefficients(known - 1).rho[g] for g in acting):
        known -= 1
    buffer = ledger.converted(ledger.trajectory.initial_buffer)
    if known > 0:
        buffer = _buffer_after(ledger, gradient, known - 1)
    for s in range(known, start):
        c, expand = ledger.coefficients(s), ledger.expand
        buffer = expand(c.mu) * buffer + expand(c.kappa) * _entering(ledger, gradient, s)
    return buffer


def _buffer_by_tensor(ledger: Ledger, gradient: BatchGradient, start: int, stop: int) -> Tensor:
    """The same where tensors paused: each one's buffer from the last update that moved it."""
    sizes = ledger.trajectory.layout.sizes
    scalars = {s: ledger.coefficients(s) for s in range(stop)}
    last: dict[int, int] = {}
    for g in range(len(sizes)):
        if any(scalars[s].rho[g] for s in range(start, stop)):
            last[g] = next((s for s in range(start - 1, -1, -1) if scalars[s].rho[g]), -1)
    buffer = ledger.converted(ledger.trajectory.initial_buffer).clone()
    parts = buffer.split(sizes)
    for s in range(max(0, min(last.values(), default=start)), start):
        c = scalars[s]
        rolled = [g for g, known in last.items() if known < s and (c.kappa[g] or not c.mu[g])]
        if rolled:
            entering = _entering(ledger, gradient, s).split(sizes)
            for g in rolled:
                parts[g].mul_(c.mu[g]).add_(c.kappa[g] * entering[g])
        found = [g for g, known in last.items() if known == s]
        if found:
            after = _buffer_after(ledger, gradient, s).split(sizes)
            for g in found:
                parts[g].copy_(after[g])
    return buffer


def _buffer_after(ledger: Ledger, gradient: BatchGradient, s: int) -> Tensor:
    """b_{s+1} = −(u + decoupled θ + P σ d) / (P ρ) of update s; zero where ρ = 0."""
    c, expand = ledger.coefficients(s), ledger.expand
    scaled = ledger.preconditioner(s)
    moved = ledger.update(s) + ledger.decoupled(s) * ledger.parameters(s)
    entering = _entering(ledger, gradient, s) if any(c.sigma) else None
    if entering is not None:
        moved = moved + scaled * expand(c.sigma) * entering
    scale = torch.zeros_like(moved) + scaled * expand(c.rho)
    buffer = torch.where(scale == 0, 0.0, -moved / scale)
    if entering is None or not isinstance(scaled, Tensor):
        return buffer
    rho, sigma = (torch.zeros_like(moved) + expand(values) for values in (c.rho, c.sigma))
    # P = 0 stands only where ρ b + σ d = 0
    return torch.where((scaled == 0) & (rho > 0), -sigma * entering / rho, buffer)
