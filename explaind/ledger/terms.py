"""The observed update u_s as the sum of its named terms, without any gradient.

    u_s = kernel_s + regularization_s (+ carried_s),      kernel_s = −Σ_k φ_{s,k},  regularization_s = −r_s

The regularization needs the recorded θ's only, and the kernel is what remains of the observed update. `carried` is the
momentum that a resumed optimizer carried: gradients of samples seen before the recording began.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from explaind.errors import LedgerError
from explaind.ledger.coefficients import Coefficients, Expand, UpdateRule
from explaind.ledger.pauses import PausedRule
from explaind.optimizers import LINEAR, LinearRule
from explaind.recording.trajectory import Trajectory


class Ledger:
    """Coefficients and preconditioner of every update of a trajectory, in one dtype.

    Args:
        trajectory: the recorded run.
        dtype: of every vector returned, float32 or float64.
        device: where every vector is.

    Raises:
        LedgerError: the trajectory's optimizer is not in the ledger.
    """

    def __init__(
        self, trajectory: Trajectory, dtype: torch.dtype, device: torch.device | None = None
    ) -> None:
        from explaind.ledger import RULES

        if trajectory.optimizer not in RULES and trajectory.optimizer not in LINEAR:
            raise LedgerError(
                f"The optimizer {trajectory.optimizer} is not in the ledger.",
                expected=", ".join((*RULES, *LINEAR)),
                got=trajectory.optimizer,
                remedy="Train with one of these optimizers.",
            )
        self.trajectory = trajectory
        self.dtype, self.device = dtype, device
        self._rule: UpdateRule | None = RULES.get(trajectory.optimizer)
        self._linear: LinearRule | None = LINEAR.get(trajectory.optimizer)
        layout = trajectory.layout
        self._paused = PausedRule(trajectory, self._rule) if self._rule and trajectory.pauses else None
        self.group = tuple(range(len(layout.names))) if self._paused else layout.group
        self.expand = Expand(self.group, layout.sizes, dtype, device)

    def coefficients(self, s: int) -> Coefficients:
        """Scalars of update s, one per parameter group; one per tensor in a run in which some tensors paused."""
        if self._paused is not None:
            return self._paused.coefficients(self.trajectory.step(s))
        if self._rule is None:
            return Coefficients(**self.trajectory.coefficients(s))
        return self._rule.coefficients(self.trajectory.step(s), s == 0 and self.trajectory.initial_count == 0)

    def entering(self, s: int) -> Tensor | float:
        """± c_s Q_s: what the gradients of update s are multiplied with before they enter the buffer, [D] or one number.

        Where tensors were scaled differently (clipping per module or per group), each has its own factor, and each entry where
        they were clipped entry by entry. Any other change inside a tensor is no factor at all; then the rebuilt update differs
        from the observed one.
        """
        return self._before(s, self._clipped(s))

    def _clipped(self, s: int) -> Tensor | float:
        record, sign = self.trajectory.step(s), self.coefficients(s).sign
        entries = self.trajectory.clip_entries(s)
        if entries is not None:
            return self.converted(entries) * self.expand(sign)
        if record.clip_uniform:
            return self.expand(tuple(one * record.clip_factor for one in sign))
        return self._by_tensor(
            [sign[g] * factor for g, factor in zip(self.group, record.clip_factors, strict=True)]
        )

    def coupled(self, s: int) -> Tensor | float:
        """Q_s coupled_s: what θ_s is multiplied with before it enters the buffer, [D] or one number."""
        coupled = self.coefficients(s).coupled
        return self._before(s, self.expand(coupled)) if any(coupled) else 0.0

    def decoupled(self, s: int) -> Tensor | float:
        """T_s decoupled_s: what θ_s is multiplied with beside the buffer, [D] or one number."""
        scale = self.expand(self.coefficients(s).decoupled)
        if self._linear is None or self._linear.trust is None:
            return scale
        return scale * self._by_tensor(self.trajectory.trust(s))

    def within(self, s: int) -> Tensor | float:
        """Q_s, [D], or 1.0 where nothing stands before the buffer."""
        if self._linear is None or self._linear.side == "buffer":
            return 1.0
        return self.converted(self.trajectory.preconditioner(s))

    def _before(self, s: int, factor: Tensor | float) -> Tensor | float:
        within = self.within(s)
        return factor * within if isinstance(within, Tensor) else factor

    def _by_tensor(self, values: Sequence[float]) -> Tensor:
        """One number for each tensor of θ, spread over its entries, [D]."""
        return torch.repeat_interleave(
            torch.tensor(values, dtype=self.dtype, device=self.device),
            torch.tensor(self.trajectory.layout.sizes, device=self.device),
        )

    def active(self, s: int) -> Tensor | None:
        """Which entries of θ had a gradient at update s, bool [D]; None where all had."""
        active = self.trajectory.step(s).active
        if all(active):
            return None
        return torch.repeat_interleave(
            torch.tensor(active, device=self.device),
            torch.tensor(self.trajectory.layout.sizes, device=self.device),
        )

    def converted(self, recorded: Tensor) -> Tensor:
        """A recorded vector in the dtype and on the device of the computation."""
        return recorded.to(self.device, self.dtype)

    def parameters(self, s: int) -> Tensor:
        """θ_s, [D]."""
        return self.converted(self.trajectory.parameters(s))

    def update(self, s: int) -> Tensor:
        """The observed update u_s = θ_{s+1} − θ_s, [D]."""
        return self.parameters(s + 1) - self.parameters(s)

    def preconditioner(self, s: int) -> Tensor | float:
        """P_s, [D], or 1.0 for optimizers without one."""
        if self._linear is not None:
            recorded = self.trajectory.preconditioner(s)
            return self.converted(recorded) if self._linear.side == "buffer" else 1.0
        if self._rule is None or self._rule.preconditioner is None:
            return 1.0
        second_moment = self.converted(self.trajectory.second_moment(s))
        if self._paused is not None:
            return self._paused.preconditioner(self.trajectory.step(s), second_moment)
        return self._rule.preconditioner(self.trajectory.step(s), second_moment, self.expand)


class UpdateTerms:
    """Walks forward over the updates and names the terms of each.

    Coupled decay and carried momentum live in the buffer, so their terms at s depend on every earlier update; `at` rolls
    these two buffers forward as far as needed. Call it for rising s.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        trajectory = ledger.trajectory
        start = ledger.converted(trajectory.initial_buffer)
        self._carried: Tensor | None = start if bool((start != 0).any()) else None
        self._decay: Tensor | float = 0.0
        self._next = 0
        self.names = ("kernel", "regularization") + (("carried",) if self._carried is not None else ())

    def at(self, s: int) -> Tensor:
        """The terms of u_s in the order of `names`, [terms, D]. They add up to u_s."""
        if s < self._next and (self._carried is not None or isinstance(self._decay, Tensor)):
            raise ValueError(f"updates must be requested in rising order: {s} came after {self._next - 1}")
        ledger = self._ledger
        for earlier in range(min(self._next, s), s):
            coefficients = ledger.coefficients(earlier)
            if any(coefficients.coupled) or self._carried is not None:
                self._roll(coefficients, earlier)
        coefficients = ledger.coefficients(s)
        self._roll(coefficients, s)
        self._next = s + 1

        expand, theta = ledger.expand, ledger.parameters(s)
        regularization = -ledger.decoupled(s) * theta
        parts = []
        if any(coefficients.coupled) or self._carried is not None or isinstance(self._decay, Tensor):
            scaled = ledger.preconditioner(s)
            rho, sigma = expand(coefficients.rho), expand(coefficients.sigma)
            if any(coefficients.coupled) or isinstance(self._decay, Tensor):
                direct = sigma * ledger.coupled(s) * theta
                regularization = regularization - scaled * (rho * self._decay + direct)
            if self._carried is not None:
                parts.append(-scaled * rho * self._carried)
        kernel = ledger.update(s) - regularization
        for part in parts:
            kernel = kernel - part
        return torch.stack([kernel, regularization, *parts])

    def _roll(self, coefficients: Coefficients, s: int) -> None:
        """b ← μ b + κ d for the decay's and the carried part of the buffer."""
        expand = self._ledger.expand
        mu = expand(coefficients.mu)
        if self._carried is not None:
            self._carried = mu * self._carried
        if any(coefficients.coupled):
            inflow = expand(coefficients.kappa) * self._ledger.coupled(s) * self._ledger.parameters(s)
            self._decay = mu * self._decay + inflow
        elif isinstance(self._decay, Tensor):
            self._decay = mu * self._decay
