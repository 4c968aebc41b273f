"""Forward mode: train samples summed, few groups, any outputs (method.md section 4.1).

Per step and node, one Jacobian-vector product per group and term of the update gives the influence on every test sample
and output at once. Needs the recorded θ alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from explaind.attribution.problem import Problem
from explaind.features.quadrature import Integral, adaptive, fixed
from explaind.features.tangents import GroupTangents
from explaind.ledger import UpdateTerms


@dataclass
class StepBlock:
    """Influences of update `step` on a block of n test samples.

    Attributes:
        step: s.
        groups: per group, [K, n, O], output units.
        change: exact change of the value, [n, O].
        residual: change − Σ groups and terms, [n, O].
        nodes: spent per sample, [n].
    """

    step: int
    groups: list[Tensor]
    change: Tensor
    residual: Tensor
    nodes: Tensor


def steps_forward(problem: Problem, tests: slice, tangents: GroupTangents) -> Iterator[StepBlock]:
    """Walk over the explained updates for the test samples `tests`."""
    query = problem.query
    x, y = problem.test.take(tests)
    terms_of = UpdateTerms(problem.ledger)
    before: tuple[int, Tensor] | None = None
    for s in problem.steps:
        theta, terms = problem.ledger.parameters(s), terms_of.at(s)
        update = problem.ledger.update(s)
        start = before[1] if before is not None and before[0] == s else problem.values(s, x, y)
        stop = problem.values(s + 1, x, y)
        before = (s + 1, stop)

        def evaluate(t: float, index: Tensor | None, theta=theta, update=update, terms=terms) -> list[Tensor]:
            chosen = (x, y) if index is None else (x[index], None if y is None else y[index])
            return tangents(torch.add(theta, update, alpha=t), terms, *chosen)

        integral = integrate(query, evaluate, _total, stop - start, axis=1)
        yield StepBlock(s, integral.parts, stop - start, integral.residual, integral.nodes)


def integrate(query: object, evaluate: Callable, predict: Callable, change: Tensor, *, axis: int) -> Integral:
    """Certified adaptive quadrature, or a fixed number of nodes where the query asks for it."""
    if query.nodes is not None:
        return fixed(evaluate, predict, change, query.nodes)
    return adaptive(
        evaluate, predict, change, tolerance=query.tolerance, max_nodes=query.max_nodes, axis=axis
    )


def _total(groups: list[Tensor]) -> Tensor:
    """Σ over groups and terms, [n, O]."""
    total = groups[0].sum(0)
    for part in groups[1:]:
        for term in part:
            total += term
    return total
