"""AdamW: decoupled weight decay, bias-corrected moments, ε outside the root (torch.optim.AdamW; method.md section 2)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from explaind.ledger.coefficients import Coefficients, UpdateRule
from explaind.recording.trajectory import StepRecord


def signs(record: StepRecord) -> tuple[float, ...]:
    """−1 for groups that maximize, else 1."""
    return tuple(-1.0 if m else 1.0 for m in record.maximize)


def coefficients(record: StepRecord, fresh: bool) -> Coefficients:
    """μ = β1, κ = 1 − β1, ρ = α / (1 − β1^t), decoupled = α λ; t is the optimizer's own step count."""
    groups = range(len(record.lr))
    return Coefficients(
        mu=record.beta1,
        kappa=tuple(1 - record.beta1[g] for g in groups),
        rho=tuple(record.lr[g] / (1 - record.beta1[g] ** record.count) for g in groups),
        sigma=(0.0,) * len(record.lr),
        coupled=(0.0,) * len(record.lr),
        decoupled=tuple(record.lr[g] * record.weight_decay[g] for g in groups),
        sign=signs(record),
    )


def preconditioner(
    record: StepRecord, second_moment: Tensor, expand: Callable[[tuple[float, ...]], Tensor | float]
) -> Tensor:
    """P_s = 1 / (sqrt(v_{s+1}) / sqrt(1 − β2^t) + ε), in the order of operations of torch. [D]"""
    correction = expand(tuple((1 - b**record.count) ** 0.5 for b in record.beta2))
    return second_moment.sqrt().div_(correction).add_(expand(record.eps)).reciprocal_()


RULE = UpdateRule(coefficients, preconditioner)
