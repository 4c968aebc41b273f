"""Train samples and update steps both kept: the momentum of a block of samples, rolled forward (lineage "update").

The adjoint credits a gradient once for the whole window; a kept step axis asks for every update apart. Then the buffer is
kept on the training side, for a block of samples at a time: M_{s+1} = μ M_s + κ d_s, kernel[s] = −⟨P_s⊙Φ_s, ρ M_{s+1} + σ d_s⟩.
Φ is recomputed per block of samples; no buffer over all samples exists. Shapes as in `explaind.attribution.adjoint`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from explaind.attribution.adjoint import TAIL_BYTES, Contraction
from explaind.attribution.problem import Problem, blocks
from explaind.attribution.reverse import StepRows
from explaind.features.batched import BLOCK
from explaind.features.rows import FeatureRows
from explaind.ledger import UpdateTerms


def by_update(
    problem: Problem, tests: slice, rows: FeatureRows, on_step: Callable[[], None] = lambda: None
) -> Contraction:
    """Every explained update of one block of test samples, apart."""
    index = [problem.partition.index(g) for g in range(len(problem.partition))]
    step_rows, terms_of = StepRows(problem, tests, rows), UpdateTerms(problem.ledger)
    regularization, carried, explained, change, error, nodes = [], [], [], [], [], []
    for s in problem.steps:
        block, terms = step_rows(s), terms_of.at(s)
        phi = block.phi.flatten(0, 1)
        regularization.append(torch.stack([phi[:, part] @ terms[1, part] for part in index]))
        brought = terms[2] if len(terms) > 2 else torch.zeros_like(terms[1])
        carried.append(torch.stack([phi[:, part] @ brought[part] for part in index]))
        explained.append(phi @ problem.ledger.update(s))
        change.append(block.change.flatten())
        error.append(block.residual.abs().max().double())
        nodes.append(block.nodes.double().mean())
        on_step()
    return Contraction(
        steps=problem.steps,
        kernel=_kernel(problem, tests, rows, index),
        regularization=torch.stack(regularization),
        carried=torch.stack(carried),
        explained=torch.stack(explained),
        change=torch.stack(change),
        error=torch.stack(error),
        nodes=torch.stack(nodes),
    )


def _kernel(problem: Problem, tests: slice, rows: FeatureRows, index: list[slice | Tensor]) -> Tensor:
    """The kernel of every explained update, [S, G, N, R]."""
    steps, gradients, layout = problem.steps, problem.gradients, problem.model.layout
    count = len(gradients.train)
    width = max(BLOCK, TAIL_BYTES // (layout.size * problem.dtype.itemsize))
    position = {s: i for i, s in enumerate(steps)}
    result: Tensor | None = None
    for part in blocks(count, width):
        step_rows = StepRows(problem, tests, rows)
        buffer = torch.zeros(part.stop - part.start, layout.size, dtype=problem.dtype)
        for s in range(_first(problem), steps[-1] + 1):
            c, expand = problem.ledger.coefficients(s), problem.ledger.expand
            entering = _entering(problem, s, part)
            buffer.mul_(expand(c.mu)).add_(entering * expand(c.kappa))
            if s not in position:
                continue
            phi = step_rows(s).phi.flatten(0, 1).mul_(problem.ledger.preconditioner(s))
            if result is None:
                result = torch.zeros(len(steps), len(index), count, len(phi), dtype=problem.dtype)
            acting = buffer * expand(c.rho) + entering * expand(c.sigma)
            for group, columns in enumerate(index):
                result[position[s], group, part] -= acting[:, columns] @ phi[:, columns].T
    return result


def _first(problem: Problem) -> int:
    """The earliest update whose gradients still weigh more than the tail tolerance at the start of the window."""
    first, weight = problem.steps[0], 1.0
    while first > 0:
        weight *= max(problem.ledger.coefficients(first).mu)
        if weight <= problem.query.tail_tolerance:
            break
        first -= 1
    return first


def _entering(problem: Problem, s: int, part: slice) -> Tensor:
    """± c_s g_{s,k} of the samples in `part`, [n, D]."""
    gradients, ledger = problem.gradients, problem.ledger
    clip = ledger.trajectory.step(s).clip_factor
    scale = ledger.expand(tuple(sign * clip for sign in ledger.coefficients(s).sign))
    total = torch.zeros(part.stop - part.start, problem.model.layout.size, dtype=problem.dtype)
    theta = gradients.parameters(s)
    for indices, delta in gradients.cotangents(s):
        inside = (indices >= part.start) & (indices < part.stop)
        members, cotangents = indices[inside], delta[inside]
        for few in blocks(len(members), BLOCK):
            pulled = gradients.samples(theta, members[few], cotangents[few])
            total.index_add_(0, members[few] - part.start, pulled.mul_(scale))
    return total
