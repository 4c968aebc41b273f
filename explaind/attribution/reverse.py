"""Reverse mode: rows of Φ, multiplied with the update's terms and reduced into groups (method.md section 4.2 and 4.4).

One backward pass per node gives Φ for every parameter at once: the way to a scalar target, to many groups and to single
parameters. Train samples are summed; needs the recorded θ alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from explaind.attribution.block import Block
from explaind.attribution.forward import integrate, one_update
from explaind.attribution.kept import Walk
from explaind.attribution.problem import Problem
from explaind.features.rows import FeatureRows
from explaind.ledger import UpdateTerms


@dataclass
class IntegratedRows:
    """Φ of one step on a block of tests: phi [n, O', D], exact change and residual [n, O'], nodes [n]; w_s."""

    step: int
    phi: Tensor
    change: Tensor
    residual: Tensor
    nodes: Tensor
    weight: float = 1.0

    @property
    def weighted(self) -> Tensor:
        """w_s Φ_s, what the terms of training's own update are multiplied by; in the place of phi."""
        return self.phi if self.weight == 1.0 else self.phi * self.weight


def feature_rows(problem: Problem) -> FeatureRows:
    """The rows that the query resolves."""
    query = problem.query
    return FeatureRows(
        problem.value,
        problem.model.layout,
        tests=query.resolves("test"),
        outputs=query.resolves("output") and problem.outputs > 1,
    )


class StepRows:
    """Integrates Φ over single steps for the test samples `tests`; remembers the values at the last θ it saw."""

    def __init__(self, problem: Problem, tests: slice, rows: FeatureRows) -> None:
        self._problem, self._rows = problem, rows
        self._x, self._y = problem.test.take(tests)
        self._known: dict[int, Tensor] = {}

    def __call__(self, s: int) -> IntegratedRows:
        """Φ_s with its certificate."""
        problem, x, y = self._problem, self._x, self._y
        theta, update = problem.path.parameters(s), problem.path.update(s)
        change = self._value(s + 1) - self._value(s)
        self._known = {at: value for at, value in self._known.items() if at in (s, s + 1)}

        def evaluate(t: float, index: Tensor | None) -> list[Tensor]:
            everyone = index is None or not problem.query.resolves("test")
            chosen = (x, y) if everyone else (x[index], None if y is None else y[index])
            return [self._rows(torch.add(theta, update, alpha=t), *chosen)]

        integral = integrate(problem.query, evaluate, lambda parts: parts[0] @ update, change, axis=0)
        return IntegratedRows(
            s, integral.parts[0], change, integral.residual, integral.nodes, problem.path.weight(s)
        )

    def _value(self, s: int) -> Tensor:
        if s not in self._known:
            self._known[s] = self._rows.reduce(self._problem.values(s, self._x, self._y))
        return self._known[s]


def reduce_groups(problem: Problem, phi: Tensor, terms: Tensor) -> Tensor | list[Tensor]:
    """Φ ⊙ term summed over each group: per group [K, n, O'], or for single parameters one tensor [D, K, n, O']."""
    if problem.partition.single:
        return torch.stack([phi * term for term in terms]).movedim(-1, 0)
    groups = (problem.partition.index(group) for group in range(len(problem.partition)))
    return [(phi[..., part] @ terms[:, part].T).movedim(-1, 0) for part in groups]


def reverse(problem: Problem, tests: slice, walk: Walk) -> Iterator[Block]:
    """Walk over the explained updates for the test samples `tests`."""
    step_rows, terms_of = StepRows(problem, tests, feature_rows(problem)), UpdateTerms(problem.ledger)
    for s in problem.steps[walk.done :]:
        rows = step_rows(s)
        yield one_update(
            problem, tests, s, terms_of.names,
            reduce_groups(problem, rows.phi, problem.path.weight(s) * terms_of.at(s)),
            change=rows.change, residual=rows.residual, nodes=rows.nodes,
        )  # fmt: skip
        walk.advance()
