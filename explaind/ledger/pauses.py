"""Runs in which some tensors of θ had no gradient in some updates: every tensor is then a parameter group of its own.

The optimizer passes over a tensor without a gradient: u = 0, no decay, its buffer and its counter t stay as they are. In the
recursion of `coefficients` that is μ = 1 and κ = ρ = σ = coupled = decoupled = 0; and t, on which bias corrections depend, counts
the tensor's own updates. Where its state was emptied before an update, the momentum of before is dropped: μ = 0 there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import torch
from torch import Tensor

from explaind.ledger.coefficients import Coefficients, UpdateRule
from explaind.recording.trajectory import StepRecord, Trajectory

__all__ = ["PausedRule"]

RESTING = {"mu": 1.0, "kappa": 0.0, "rho": 0.0, "sigma": 0.0, "coupled": 0.0, "decoupled": 0.0, "sign": 1.0}


class PausedRule:
    """An optimizer's rule, tensor by tensor.

    Args:
        trajectory: a run with pauses.
        rules: of its optimizer, or optimizers, one for each parameter group.
    """

    def __init__(self, trajectory: Trajectory, rules: Sequence[UpdateRule]) -> None:
        self._rules, self._layout = rules, trajectory.layout

    def coefficients(self, record: StepRecord) -> Coefficients:
        """Scalars of an update, one per tensor."""
        made: dict[tuple[int, int], Coefficients] = {}
        columns: dict[str, list[float]] = {field.name: [] for field in fields(Coefficients)}
        tensors = zip(self._layout.group, record.active, record.counts, strict=True)
        for tensor, (group, active, count) in enumerate(tensors):
            rule, key = self._rules[group], (id(self._rules[group]), count)
            if active and key not in made:
                made[key] = rule.coefficients(replace(record, count=count), count == 1)
            for name, column in columns.items():
                value = getattr(made[key], name)[group] if active else RESTING[name]
                column.append(0.0 if name == "mu" and tensor in record.reset else value)
        return Coefficients(**{name: tuple(column) for name, column in columns.items()})

    def preconditioner(self, record: StepRecord, second_moment: Callable[[], Tensor]) -> Tensor | float:
        """P_s, [D]; 1 where a tensor has no gradient or its optimizer no preconditioner.

        Args:
            record: of the update.
            second_moment: v_{s+1}, [D], where there is one.
        """
        if all(rule.preconditioner is None for rule in self._rules):
            return 1.0
        parts = []
        tensors = zip(
            second_moment().split(self._layout.sizes),
            self._layout.group,
            record.active,
            record.counts,
            strict=True,
        )
        for moment, group, active, count in tensors:
            own, found = replace(record, count=count), self._rules[group].preconditioner
            used = active and found is not None
            parts.append(found(own, moment, _picked(group)) if used else torch.ones_like(moment))
        return torch.cat(parts)


def _picked(group: int) -> Callable[[tuple[float, ...]], float]:
    return lambda values: values[group]
