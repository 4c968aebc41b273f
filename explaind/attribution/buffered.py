"""Train samples and update steps both kept: the momentum of a block of samples, rolled forward (lineage "update").

The adjoint credits a gradient once for the whole window; a kept step axis needs every update apart. Then the buffer is
kept on the training side, for a block of samples at a time: M_{s+1} = μ M_s + κ d_s, kernel[s] = −⟨P_s⊙Φ_s, ρ M_{s+1} + σ d_s⟩.
Φ is recomputed per block of samples; no buffer over all samples exists. Shapes as in `explaind.attribution.adjoint`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from explaind.attribution.block import Block
from explaind.attribution.contraction import Credits, contracted, replay_bound
from explaind.attribution.kept import Walk
from explaind.attribution.problem import Problem, blocks
from explaind.attribution.reverse import StepRows
from explaind.features.rows import FeatureRows
from explaind.ledger import UpdateTerms


def buffered(problem: Problem, tests: slice, walk: Walk, rows: FeatureRows) -> Iterator[Block]:
    """Every explained update of one block of test samples, apart; arguments as for `explaind.attribution.adjoint.adjoint`.

    The block is made at once: what a job keeps of it is the whole block or nothing.
    """
    if walk.done:
        return
    credits = Credits(problem, 0, per_sample=True)
    index = credits.index
    step_rows, terms_of = StepRows(problem, tests, rows), UpdateTerms(problem.ledger)
    without: dict[str, list[Tensor]] = {"regularization": [], "penalty": [], "carried": []}
    explained, change, bound, error, nodes = [], [], [], [], []
    for s in problem.steps:
        integrated, terms = step_rows(s), terms_of.at(s)
        phi = integrated.weighted.flatten(0, 1)
        named = dict(zip(terms_of.names, terms, strict=True))
        for name, collected in without.items():
            term = named.get(name, torch.zeros_like(terms[0]))
            collected.append(torch.stack([phi[:, part] @ term[part] for part in index]))
        explained.append(phi @ problem.ledger.update(s))
        bound.append(replay_bound(problem, s, phi))
        change.append(integrated.change.flatten())
        error.append(integrated.residual.abs().max().double())
        nodes.append(integrated.nodes.double().mean())
        walk.advance()
    kernel, others = _kernel(problem, tests, rows, credits)
    yield contracted(
        problem,
        tests,
        steps=problem.steps,
        totals=problem.steps,
        kernel=kernel,
        **{name: torch.stack(collected) for name, collected in without.items()},
        others=others,
        explained=torch.stack(explained),
        change=torch.stack(change),
        bound=torch.stack(bound),
        error=torch.stack(error),
        nodes=torch.stack(nodes),
    )


def _kernel(
    problem: Problem, tests: slice, rows: FeatureRows, credits: Credits
) -> tuple[Tensor, Tensor | None]:
    """The kernel of every explained update, [S, G, N, R], and what samples that are not kept contribute, [S, G, R]."""
    kernel = _rolled(problem, tests, rows, credits, problem.kept_samples, credits.width, credits.entering)
    if problem.chosen is None:
        return kernel, None
    together = _rolled(problem, tests, rows, credits, 1, 1, lambda s, part: credits.whole(s)[None])
    return kernel, together.squeeze(2) - kernel.sum(2)


def _rolled(
    problem: Problem,
    tests: slice,
    rows: FeatureRows,
    credits: Credits,
    count: int,
    width: int,
    entering_of: Callable[[int, slice], Tensor | None],
) -> Tensor:
    """The kernel of `count` samples, `width` of them at a time, whose gradients `entering_of` gives, [S, G, count, R]."""
    steps, size = problem.steps, problem.model.layout.size
    position = {s: i for i, s in enumerate(steps)}
    result: Tensor | None = None
    for part in blocks(count, width):
        step_rows = StepRows(problem, tests, rows)
        buffer = torch.zeros(part.stop - part.start, size, dtype=problem.dtype)
        for s in range(_first(problem), steps[-1] + 1):
            c, expand = problem.ledger.coefficients(s), problem.ledger.expand
            entering = entering_of(s, part)
            buffer.mul_(expand(c.mu))
            if entering is not None:
                buffer += entering * expand(c.kappa)
            if s not in position:
                continue
            phi = step_rows(s).weighted.flatten(0, 1).mul_(problem.ledger.preconditioner(s))
            if result is None:
                result = torch.zeros(len(steps), len(credits.index), count, len(phi), dtype=problem.dtype)
            acting = buffer * expand(c.rho)
            if entering is not None:
                acting += entering * expand(c.sigma)
            for group, columns in enumerate(credits.index):
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
