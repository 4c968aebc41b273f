"""Check updates without data: the gradient that an update implies must be as long as the one that was recorded.

The recursion of `coefficients` is solved for the gradient, with w_s = u_s + decoupled θ_s:

    d_s = (−w_s / P_s − ρ μ b_s) / (ρ κ + σ),    b_{s+1} = μ b_s + κ d_s,    ± c_s g_s = d_s − coupled θ_s

The norms of c_s g_s, tensor by tensor, were recorded when the optimizer took it. Momentum that was reset, parameters that were
moved by something else, or options other than the recorded ones give another length.

The rounding of the stored θ is propagated as a bound on each entry of d_s and b_s: dividing by a small P_s ρ enlarges it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from explaind.ledger.rebuild import ReplayError
from explaind.ledger.terms import Ledger

FADED = 60  # updates after which Nesterov's buffer weighs less than (μ / (1 + μ))^60 < 1e-18
Scalars = float | Tensor  # of a parameter group: one number where all groups have the same, else [D]
FORGOTTEN = 1e-18  # of other optimizers, where it takes longer


def compare_norms(ledger: Ledger, start: int, stop: int) -> Iterator[ReplayError]:
    """Compare the implied gradients of the updates [start, stop) with the recorded norms.

    An update whose buffer or gradient cannot be known (a learning rate of zero, now or just before) yields infinite rounding.

    Args:
        ledger: in float64.
        start, stop: updates.
    """
    for implied in implied_gradients(ledger, start, stop):
        yield implied.error()


def implied_gradients(ledger: Ledger, start: int, stop: int) -> Iterator[ImpliedGradient]:
    """± c_s g_s of the updates [start, stop) as the optimizer took it.

    The buffer before `start` is inferred from up to two earlier updates, or, where an update mixes buffer and gradient
    (Nesterov), from `FADED` earlier ones, after which the start is forgotten.
    """
    layout = ledger.trajectory.layout
    slack = torch.zeros(layout.size, dtype=ledger.dtype, device=ledger.device)
    mixes = start < stop and any(ledger.coefficients(start).sigma)
    first = _faded(ledger, start) if mixes else max(0, start - 2)
    if ledger.trajectory.pauses is not None:
        first = 0  # what paused just before may have been moved last by any earlier update
    buffer: Tensor | None = None
    if first == 0:
        buffer = ledger.converted(ledger.trajectory.initial_buffer)
    elif mixes:
        buffer = torch.zeros_like(slack)
    for s in range(first, stop):
        implied = ImpliedGradient(ledger, s, buffer, slack)
        if s >= start:
            yield implied
        buffer, slack = implied.buffer, implied.slack


def _faded(ledger: Ledger, start: int) -> int:
    """The update from which on a wrong buffer is forgotten by `start`: at each it shrinks to μ σ / (ρ κ + σ) of itself."""
    first, left = max(0, start - FADED), 1.0
    for s in range(start - 1, -1, -1):
        if s < first and left < FORGOTTEN:
            break
        first = min(first, s)
        c = ledger.coefficients(s)
        shares = [
            mu * sigma / (rho * kappa + sigma) if mu and sigma else 0.0
            for mu, kappa, rho, sigma in zip(c.mu, c.kappa, c.rho, c.sigma, strict=True)
        ]
        left *= max(shares)
    return first


class ImpliedGradient:
    """d_s and b_{s+1} from the observed update s, with the bound of their rounding.

    Attributes:
        gradient: ± c_s g_s, [D]; None if it cannot be known.
        buffer: b_{s+1}, [D]; None if it cannot be known.
        slack: bound of its rounding, [D].
    """

    def __init__(self, ledger: Ledger, s: int, buffer: Tensor | None, slack: Tensor) -> None:
        self._ledger, self._step = ledger, s
        c = ledger.coefficients(s)
        eps = torch.finfo(ledger.trajectory.layout.dtype).eps
        theta, after = ledger.parameters(s), ledger.parameters(s + 1)
        scale = ledger.preconditioner(s)
        observed = (theta - after - ledger.decoupled(s) * theta) / scale
        spread = torch.maximum(theta.abs(), after.abs()).mul_(2 * eps).div_(scale)
        spread.add_(observed.abs(), alpha=8 * eps)
        if isinstance(scale, Tensor) and bool((scale == 0).any()):  # only where ρ b + σ d = 0
            observed, spread = (torch.where(scale == 0, 0.0, values) for values in (observed, spread))
        active = ledger.active(s)
        given = (
            *(ledger.expand(values) for values in (c.mu, c.kappa, c.rho, c.sigma)),
            observed,
            spread,
            slack,
        )
        if active is None:
            self.gradient, self.buffer, self.slack, self._spread = self._solved(*given, buffer, eps)
        elif not bool(active.any()):
            mu, nothing = given[0], torch.zeros_like(theta)
            self.gradient, self._spread = nothing, nothing
            self.buffer, self.slack = None if buffer is None else mu * buffer, mu * slack
        else:  # a tensor without a gradient implies none, and keeps its buffer
            mu = given[0]
            picked = (part[active] if isinstance(part, Tensor) else part for part in given)
            solved = self._solved(*picked, None if buffer is None else buffer[active], eps)
            kept = None if buffer is None else mu * buffer  # μ = 0 where its state was emptied
            rest = (torch.zeros_like(theta), kept, mu * slack, torch.zeros_like(theta))
            self.gradient, self.buffer, self.slack, self._spread = (
                None if part is None or whole is None else whole.masked_scatter(active, part)
                for part, whole in zip(solved, rest, strict=True)
            )
        if self.gradient is not None:
            within, coupled = ledger.within(s), ledger.expand(c.coupled)
            if isinstance(within, Tensor):
                self.gradient, self._spread = self.gradient / within, self._spread / within
            if not _all(coupled == 0):
                self.gradient = self.gradient - coupled * theta

    @classmethod
    def _solved(
        cls,
        mu: Scalars,
        kappa: Scalars,
        rho: Scalars,
        sigma: Scalars,
        observed: Tensor,
        spread: Tensor,
        slack: Tensor,
        buffer: Tensor | None,
        eps: float,
    ) -> tuple[Tensor | None, Tensor | None, Tensor, Tensor]:
        """d_s and b_{s+1} (None if they cannot be known), the bound of the buffer's rounding, and that of d_s."""
        after, after_slack = cls._alone(mu, rho, sigma, observed, spread)
        answers, carried = rho * kappa + sigma, rho * mu
        if buffer is None and _all(carried == 0):
            buffer, slack = torch.zeros_like(observed), torch.zeros_like(observed)
        if buffer is None or not _all(answers > 0):
            return None, after, after_slack, torch.zeros_like(observed)
        before = carried * buffer
        entered = (observed - before) / answers
        bound = (spread + carried * slack).add_(before.abs_(), alpha=8 * eps).div_(answers)
        if not _all(sigma == 0):  # else b_{s+1} follows from this update alone: nothing accumulates
            after = mu * buffer + kappa * entered
            after_slack = mu * slack + kappa * bound
        return entered, after, after_slack, bound

    @staticmethod
    def _alone(
        mu: Scalars, rho: Scalars, sigma: Scalars, observed: Tensor, spread: Tensor
    ) -> tuple[Tensor | None, Tensor]:
        """b_{s+1} where it follows without knowing b_s: σ = 0 and ρ > 0, or no momentum at all."""
        if _all(sigma == 0) and _all(rho > 0):
            return observed / rho, spread / rho
        if _all(mu == 0):
            return torch.zeros_like(observed), torch.zeros_like(observed)
        return None, torch.zeros_like(observed)

    def error(self) -> ReplayError:
        """Implied against recorded norms of g_s by tensor: largest difference, and l2 over tensors, relative."""
        if self.gradient is None:
            return ReplayError(self._step, 0.0, 0.0, float("inf"))
        layout = self._ledger.trajectory.layout
        seen = torch.tensor(self._ledger.trajectory.step(self._step).gradient_norms, dtype=torch.float64)
        implied = torch.stack([part.norm() for part in self.gradient.split(layout.sizes)]).double().cpu()
        difference = implied - seen
        size = float(seen.norm()) or 1.0
        return ReplayError(
            step=self._step,
            absolute=float(difference.abs().max()),
            relative=float(difference.norm()) / size,
            rounding=float(self._spread.norm()) / size,
        )


def _all(condition: bool | Tensor) -> bool:
    """Does it hold everywhere?"""
    return bool(condition.all()) if isinstance(condition, Tensor) else condition
