"""Optimizers that are linear in the gradients, given a diagonal that is taken as observed; one file each (method.md section 2).

torch's AdamW, Adam and SGD are not here: their equations are applied when a run is explained (`explaind.ledger`).
"""

from __future__ import annotations

from torch.optim import Optimizer

from explaind.optimizers import (
    adadelta,
    adafactor,
    adagrad,
    adamax,
    amsgrad,
    asgd,
    lamb,
    lion,
    nadam,
    radam,
    rmsprop,
    signsgd,
)
from explaind.optimizers.refused import REASONS
from explaind.optimizers.rule import COEFFICIENTS, After, Before, LinearRule, Scalars

_MODULES = (
    adadelta,
    adafactor,
    adagrad,
    adamax,
    amsgrad,
    asgd,
    lamb,
    lion,
    nadam,
    radam,
    rmsprop,
    signsgd,
)
LINEAR: dict[str, LinearRule] = {module.RULE.name: module.RULE for module in _MODULES}
"""Every rule, by the name that is recorded."""

__all__ = ["COEFFICIENTS", "LINEAR", "REASONS", "After", "Before", "LinearRule", "Scalars", "find_rule"]


def find_rule(optimizer: Optimizer) -> LinearRule | None:
    """The rule of this optimizer; None if no rule fits, as for torch's AdamW, Adam and SGD."""
    return next((rule for rule in LINEAR.values() if rule.fits(optimizer)), None)
