"""One update of any linear optimizer, read while it is recorded.

Per parameter group (s counts updates, ⊙ is elementwise), with a diagonal Q_s on the gradient's side or P_s on the buffer's:

    d_s     = Q_s ⊙ (± c_s g_s + coupled_s θ_s)              what enters the buffer (− when the optimizer maximizes)
    b_{s+1} = μ_s b_s + κ_s d_s                               the state that is linear in the gradients
    u_s     = − P_s ⊙ (ρ_s b_{s+1} + σ_s d_s) − T_s decoupled_s θ_s

The diagonal and the trust ratio T (one number per tensor) depend on the run's own gradients; they are taken as observed and not
split among samples, as Adam's second moment is. A rule says how both, and the scalars, follow from the optimizer's options and
state right after an update. They are recorded, and explaining needs nothing else (`explaind.ledger.terms`). A rule that does not
describe what the optimizer does is noticed: every update is rebuilt from its batch and compared before anything is attributed.

A diagonal is 0 only where what it multiplies is 0, so that nothing enters an update unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor
from torch.optim import Optimizer

Options = Mapping[str, Any]
"""The options of a parameter group; those that are tensors of one element as numbers."""


@dataclass(frozen=True)
class Scalars:
    """The coefficients of one parameter group in one update."""

    mu: float = 0.0
    kappa: float = 1.0
    rho: float = 0.0
    sigma: float = 0.0
    coupled: float = 0.0
    decoupled: float = 0.0


COEFFICIENTS = ("mu", "kappa", "rho", "sigma", "coupled", "decoupled", "sign")
"""Columns of the recorded coefficients: `Scalars`, and −1 for groups that maximize, else 1."""


@dataclass(frozen=True)
class Before:
    """One tensor right before an update: its gradient as the optimizer got it, θ_s, and the optimizer's state for it."""

    options: Options
    state: Mapping[str, Any]
    gradient: Tensor
    theta: Tensor


@dataclass(frozen=True)
class After:
    """One tensor right after an update.

    Attributes:
        options: of its group, during the update.
        state: of the optimizer, for this tensor.
        count: t, the updates the optimizer has made; 0 if it does not count them.
        theta: θ_{s+1}.
        kept: what the rule's `before` returned.
    """

    options: Options
    state: Mapping[str, Any]
    count: int
    theta: Tensor
    kept: Any


@dataclass(frozen=True)
class LinearRule:
    """An optimizer.

    Attributes:
        name: of its class, as it is recorded.
        fits: is this optimizer one of these?
        scalars: of a group, from the first of its tensors.
        diagonal: P_s or Q_s of a tensor, in its shape.
        side: where the diagonal stands: on the "buffer" (P) or on the "gradient" (Q).
        buffer: the key of b in the optimizer's state; None where there is none (then μ and ρ are 0).
        before: reads a tensor before the update; its result is `After.kept`.
        trust: T_s of a tensor; None where it is 1.
        flags: on-off options that must not change during a run.
        check: says why an optimizer that fits cannot be recorded: (problem, expected, got), or None.
    """

    name: str
    fits: Callable[[Optimizer], bool]
    scalars: Callable[[After], Scalars]
    diagonal: Callable[[After], Tensor]
    side: Literal["buffer", "gradient"] = "buffer"
    buffer: str | None = None
    before: Callable[[Before], Any] | None = None
    trust: Callable[[After], float] | None = None
    flags: tuple[str, ...] = field(default=())
    check: Callable[[Options], tuple[str, str, str] | None] = lambda options: None


def exactly(kind: type[Optimizer]) -> Callable[[Optimizer], bool]:
    """Is it of this very class? A subclass may step differently."""
    return lambda optimizer: type(optimizer) is kind


def called(*names: str, options: tuple[str, ...]) -> Callable[[Optimizer], bool]:
    """Has its class one of these names, outside torch, and its groups all of these options?"""

    def fits(optimizer: Optimizer) -> bool:
        kind = type(optimizer)
        return (
            kind.__name__ in names
            and not kind.__module__.startswith("torch.")
            and all(option in group for group in optimizer.param_groups for option in options)
        )

    return fits
