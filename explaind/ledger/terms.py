"""What is known of every update without the gradient of any sample: its scalars, its diagonals, its decay and its penalty."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
        penalty: θ [D] → gradient of the penalty that the run announced, [D].

    Raises:
        LedgerError: the trajectory's optimizer is not in the ledger, or the run had a penalty that is not given.
    """

    def __init__(
        self,
        trajectory: Trajectory,
        dtype: torch.dtype,
        device: torch.device | None = None,
        penalty: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        from explaind.ledger import RULES

        if trajectory.penalized and penalty is None:
            raise LedgerError(
                "The run was trained with a penalty in its loss, so its updates are not sums over samples alone.",
                expected="the function that was announced by Recorder.penalty",
                got="none",
                remedy="Pass it as penalty=.",
            )

        if any(name not in RULES and name not in LINEAR for name in trajectory.rules):
            raise LedgerError(
                f"The optimizer {trajectory.optimizer} is not in the ledger.",
                expected=", ".join((*RULES, *LINEAR)),
                got=trajectory.optimizer,
                remedy="Train with one of these optimizers.",
            )
        self.trajectory = trajectory
        self.dtype, self.device = dtype, device
        self.penalty_gradient = penalty
        self._penalty: tuple[int, Tensor | None] = (-1, None)
        rules = [RULES[name] for name in trajectory.rules if name in RULES]
        self._rule: UpdateRule | None = rules[0] if rules else None
        self._linear: LinearRule | None = LINEAR.get(trajectory.optimizer)
        layout = trajectory.layout
        self._paused = PausedRule(trajectory, rules) if rules and trajectory.pauses else None
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

    def penalty(self, s: int) -> Tensor | None:
        """± c_s Q_s w_s ∇R(θ_s): what the penalty enters the buffer with, [D]; None where the loss had none."""
        weight = self.trajectory.penalty(s)
        if self.penalty_gradient is None or not weight:
            return None
        if self._penalty[0] != s:
            gradient = weight * self.penalty_gradient(self.parameters(s))
            self._penalty = s, self.entering(s) * gradient
        return self._penalty[1]

    def sampleless(self, s: int) -> Tensor:
        """What enters the buffer beside the gradients of samples: coupled decay and the penalty, [D]."""
        decay, penalty = self.coupled(s) * self.parameters(s), self.penalty(s)
        return decay if penalty is None else decay + penalty

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
        if self._paused is not None:
            return self._paused.preconditioner(
                self.trajectory.step(s), lambda: self.converted(self.trajectory.second_moment(s))
            )
        if self._rule is None or self._rule.preconditioner is None:
            return 1.0
        second_moment = self.converted(self.trajectory.second_moment(s))
        return self._rule.preconditioner(self.trajectory.step(s), second_moment, self.expand)
