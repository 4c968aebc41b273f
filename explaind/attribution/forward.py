"""Forward mode: train samples summed, few groups, any outputs (method.md section 4.1).

Per step and node, one Jacobian-vector product per group and term of the update gives the influence on every test sample
and output at once. Needs the recorded θ alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from explaind.attribution.block import Block, single
from explaind.attribution.kept import Walk
from explaind.attribution.problem import Problem
from explaind.features.quadrature import Integral, adaptive, fixed
from explaind.features.tangents import GroupTangents
from explaind.ledger import UpdateTerms


def forward(problem: Problem, tests: slice, walk: Walk) -> Iterator[Block]:
    """Walk over the explained updates for the test samples `tests`."""
    query = problem.query
    x, y = problem.test.take(tests)
    tangents, terms_of = GroupTangents(problem.value, problem.partition), UpdateTerms(problem.ledger)
    before: tuple[int, Tensor] | None = None
    for s in problem.steps[walk.done :]:
        theta, update = problem.path.parameters(s), problem.path.update(s)
        terms = problem.path.weight(s) * terms_of.at(s)
        start = before[1] if before is not None and before[0] == s else problem.values(s, x, y)
        stop = problem.values(s + 1, x, y)
        before = (s + 1, stop)

        def evaluate(t: float, index: Tensor | None, theta=theta, update=update, terms=terms) -> list[Tensor]:
            chosen = (x, y) if index is None else (x[index], None if y is None else y[index])
            return tangents(torch.add(theta, update, alpha=t), terms, *chosen)

        integral = integrate(query, evaluate, _total, stop - start, axis=1)
        yield one_update(
            problem, tests, s, terms_of.names, integral.parts,
            change=stop - start, residual=integral.residual, nodes=integral.nodes,
        )  # fmt: skip
        walk.advance()


def one_update(
    problem: Problem,
    tests: slice,
    s: int,
    names: tuple[str, ...],
    groups: Sequence[Tensor] | Tensor,
    *,
    change: Tensor,
    residual: Tensor,
    nodes: Tensor,
) -> Block:
    """The block of update s, its training samples summed.

    Args:
        problem, tests, s, names: what the numbers are of.
        groups: the terms of each parameter group, [K, n, O] each, or [G, K, n, O].
        change: exact change of the target, [n, O].
        residual: what the nodes miss of it, [n, O].
        nodes: evaluated per test sample, [n].
    """
    mean = nodes.double().mean() * (tests.stop - tests.start) / len(problem.test)
    quantities = single(names, s, groups), single(("change",), s, [change.double()[None]])
    return Block(tests, (s,), quantities, error=residual.abs().max()[None], nodes=mean[None])


def integrate(query: object, evaluate: Callable, predict: Callable, change: Tensor, *, axis: int) -> Integral:
    """Certified adaptive quadrature, or a fixed number of nodes where the query has one."""
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
