"""The observed update u_s as the sum of its named terms, without the gradient of any sample.

    u_s = kernel_s + regularization_s (+ penalty_s) (+ carried_s),      kernel_s = −Σ_k φ_{s,k},  regularization_s = −r_s

The regularization needs the recorded θ's only, and the kernel is what remains of the observed update. `penalty` is a part of the
loss that depends on parameters alone, and needs its gradient at the recorded θ's. `carried` is the momentum that a resumed
optimizer carried: gradients of samples seen before the recording began.
"""

from __future__ import annotations

import torch
from torch import Tensor

from explaind.ledger.coefficients import Coefficients
from explaind.ledger.terms import Ledger


class UpdateTerms:
    """Walks forward over the updates and names the terms of each.

    Coupled decay, the penalty and carried momentum live in the buffer, so their terms at s depend on every earlier update; `at`
    rolls these buffers forward as far as needed. Call it for rising s.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        trajectory = ledger.trajectory
        start = ledger.converted(trajectory.initial_buffer)
        self._carried: Tensor | None = start if bool((start != 0).any()) else None
        self._penalized = trajectory.penalized
        self._penalty: Tensor | float = 0.0
        self._decay: Tensor | float = 0.0
        self._next = 0
        self.names = (
            "kernel",
            "regularization",
            *(("penalty",) if self._penalized else ()),
            *(("carried",) if self._carried is not None else ()),
        )

    def at(self, s: int) -> Tensor:
        """The terms of u_s in the order of `names`, [terms, D]. They add up to u_s."""
        rolled = self._carried is not None or self._penalized or isinstance(self._decay, Tensor)
        if s < self._next and rolled:
            raise ValueError(f"updates must be requested in rising order: {s} came after {self._next - 1}")
        ledger = self._ledger
        for earlier in range(min(self._next, s), s):
            coefficients = ledger.coefficients(earlier)
            if any(coefficients.coupled) or self._carried is not None or self._penalized:
                self._roll(coefficients, earlier)
        coefficients = ledger.coefficients(s)
        self._roll(coefficients, s)
        self._next = s + 1

        expand, theta = ledger.expand, ledger.parameters(s)
        regularization = -ledger.decoupled(s) * theta
        parts = []
        decays = any(coefficients.coupled) or isinstance(self._decay, Tensor)
        if decays or self._carried is not None or self._penalized:
            scaled = ledger.preconditioner(s)
            rho, sigma = expand(coefficients.rho), expand(coefficients.sigma)
            if decays:
                direct = sigma * ledger.coupled(s) * theta
                regularization = regularization - scaled * (rho * self._decay + direct)
            if self._penalized:
                present = ledger.penalty(s)
                acting = rho * self._penalty + (0.0 if present is None else sigma * present)
                parts.append(-scaled * acting * torch.ones_like(theta))
            if self._carried is not None:
                parts.append(-scaled * rho * self._carried)
        kernel = ledger.update(s) - regularization
        for part in parts:
            kernel = kernel - part
        return torch.stack([kernel, regularization, *parts])

    def _roll(self, coefficients: Coefficients, s: int) -> None:
        """b ← μ b + κ d for the parts of the buffer that are the decay's, the penalty's and carried."""
        expand = self._ledger.expand
        mu = expand(coefficients.mu)
        if self._carried is not None:
            self._carried = mu * self._carried
        if self._penalized:
            present = self._ledger.penalty(s)
            inflow = 0.0 if present is None else expand(coefficients.kappa) * present
            self._penalty = mu * self._penalty + inflow
        if any(coefficients.coupled):
            inflow = expand(coefficients.kappa) * self._ledger.coupled(s) * self._ledger.parameters(s)
            self._decay = mu * self._decay + inflow
        elif isinstance(self._decay, Tensor):
            self._decay = mu * self._decay
