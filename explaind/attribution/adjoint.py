"""Contraction with the momentum adjoint: train samples kept (method.md section 4.3).

With b the optimizer's buffer (ledger.coefficients), the influence on a row is linear in every d_i, and its derivative is

    Ψ_i = ρ_i P_i ⊙ Φ_i [i ∈ S] + μ_{i+1} Ψ_{i+1}          adjoint of b_{i+1}, run backwards from the end of the window S
    Λ_i = κ_i Ψ_i + σ_i P_i ⊙ Φ_i [i ∈ S]                    adjoint of d_i

so Σ_{s∈S} ⟨Φ_s, −φ_{s,k}⟩ = −Σ_i ⟨Λ_i, ± c_i g_{i,k}⟩: a rows × D state and one product per batch. Before the window Λ_i is
Ψ times a number, so the gradients of the tail are summed first, sample by sample, and contracted once.

Shapes: R rows (tests × outputs of one block), N training samples, G groups, D parameters, n samples of a batch part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from explaind.attribution.block import Block
from explaind.attribution.contraction import Credits, contracted, replay_bound
from explaind.attribution.directional import Directional
from explaind.attribution.kept import Observer, Walk
from explaind.attribution.problem import Problem
from explaind.attribution.reverse import StepRows
from explaind.features.rows import FeatureRows

SUMS = ("_carried", "_explained", "_change", "_bound", "_error", "_nodes")


def adjoint(
    problem: Problem,
    tests: slice,
    walk: Walk,
    rows: FeatureRows,
    directional: Directional | None = None,
    observe: Observer | None = None,
) -> Iterator[Block]:
    """Contract a block of test samples with the training samples of the window.

    Args:
        problem: with training gradients.
        tests: the block of test samples.
        walk: knows how far it has been walked, and is told.
        rows: the feature map's rows.
        directional: products with gradients that are not formed; None: they are.
        observe: called with every Φ_s.
    """
    if not walk.done:
        yield _Adjoint(problem, tests, rows, directional, observe).run(walk)


class _Adjoint:
    def __init__(
        self,
        problem: Problem,
        tests: slice,
        rows: FeatureRows,
        directional: Directional | None,
        observe: Observer | None,
    ) -> None:
        self._problem, self._ledger, self._tests = problem, problem.ledger, tests
        self._step_rows = StepRows(problem, tests, rows)
        self._per_sample, self._observe = problem.query.keeps("train"), observe
        tested = (tests.stop - tests.start) if problem.query.resolves("test") else 1
        count = tested * (problem.outputs if problem.query.resolves("output") else 1)
        self._credits = Credits(problem, count, per_sample=self._per_sample, directional=directional)
        self._carried = torch.zeros(len(problem.partition), count, dtype=problem.dtype)
        self._explained, self._change, self._bound = (
            torch.zeros(count, dtype=problem.dtype) for _ in range(3)
        )
        self._error, self._nodes = (torch.zeros(len(problem.steps), dtype=torch.float64) for _ in range(2))

    def run(self, walk: Walk) -> Block:
        """Backwards over the window, then over its tail."""
        start, stop = self._problem.window
        ledger, credits = self._ledger, self._credits
        position = {s: i for i, s in enumerate(self._problem.steps)}
        psi: Tensor | None = None
        later = None  # coefficients of the update after
        tail: int | None = None  # how much of the tail is credited
        if walk.inside is not None:
            stop, psi, tail = self._restore(walk.inside)
            later = ledger.coefficients(stop)
        for s in range(stop - 1, start - 1, -1):
            c, expand, weighted = ledger.coefficients(s), ledger.expand, None
            if psi is not None:
                psi *= expand(later.mu)
            if s in position:
                phi = self._integrated(s, position[s])
                credits.add(credits.at(s).regularization, phi, -ledger.decoupled(s) * ledger.parameters(s))
                weighted = phi.mul_(ledger.preconditioner(s))
                psi = torch.zeros_like(weighted) if psi is None else psi
                _add_scaled(psi, weighted, expand(c.rho))
            if psi is not None:
                self._contract(s, psi, weighted)
            later = c
            if s in position:
                walk.advance(partial(self._state, s, psi, None))
        if psi is not None:
            self._tail(psi, start, tail, lambda done: walk.within(partial(self._state, start, psi, done)))
        steps, kernel, regularization, penalty, others = credits.gathered()
        return contracted(
            self._problem,
            self._tests,
            steps=steps,
            totals=None,
            kernel=kernel,
            regularization=regularization,
            penalty=penalty,
            others=others,
            carried=self._carried[None],
            explained=self._explained[None],
            change=self._change[None],
            bound=self._bound[None],
            error=self._error,
            nodes=self._nodes,
        )

    def _state(self, s: int, psi: Tensor, tail: int | None) -> dict[str, Any]:
        """All of it after update s, or after so many pieces of the tail."""
        sums = {name: getattr(self, name) for name in SUMS}
        return {"step": s, "psi": psi, "tail": tail, "credits": self._credits.state(), "sums": sums}

    def _restore(self, state: Mapping[str, Any]) -> tuple[int, Tensor, int | None]:
        self._credits.restore(state["credits"])
        for name in SUMS:
            setattr(self, name, state["sums"][name])
        return state["step"], state["psi"], state["tail"]

    def _integrated(self, s: int, position: int) -> Tensor:
        """w_s Φ_s [R, D], with its sums and certificate noted."""
        integrated = self._step_rows(s)
        phi = integrated.weighted.flatten(0, 1)
        if self._observe is not None:
            self._observe(s, phi)
        self._explained += phi @ self._ledger.update(s)
        self._bound += replay_bound(self._problem, s, phi)
        self._change += integrated.change.flatten()
        self._error[position] = integrated.residual.abs().max()
        self._nodes[position] = integrated.nodes.double().mean()
        return phi

    def _contract(self, s: int, psi: Tensor, weighted: Tensor | None) -> None:
        """Credit update s's batch: ⟨Λ_s, ± c_s g_{s,k}⟩, coupled decay: ⟨Λ_s, λ θ_s⟩, and the penalty."""
        c, expand = self._ledger.coefficients(s), self._ledger.expand
        adjoint, factor = psi, expand(c.kappa)
        if any(c.sigma) and weighted is not None:
            adjoint, factor = psi * factor, 1.0
            _add_scaled(adjoint, weighted, expand(c.sigma))
        if any(c.coupled):
            decay = factor * self._ledger.coupled(s) * self._ledger.parameters(s)
            self._credits.add(self._credits.at(s).regularization, adjoint, decay, -1.0)
        penalty = self._ledger.penalty(s)
        if penalty is not None:
            self._credits.add(self._credits.at(s).penalty, adjoint, factor * penalty, -1.0)
        self._credits.batch(s, adjoint, factor)

    def _tail(self, psi: Tensor, start: int, done: int | None, advance: Callable[[int], None]) -> None:
        """Gradients from before the window: Λ_i = κ_i (Π μ) Ψ.

        Args:
            psi, start: Ψ after the first update of the window.
            done: how much of it is credited: pieces of the batches; None: not even decay, penalty and the first buffer.
            advance: called with this number after each piece.
        """
        ledger, expand, credits = self._ledger, self._ledger.expand, self._credits
        weight: Tensor | float = expand(ledger.coefficients(start).mu)
        factors: list[tuple[int, Tensor | float]] = []
        for i in range(start - 1, -1, -1):
            if _largest(weight) <= self._problem.query.tail_tolerance:
                break
            c = ledger.coefficients(i)
            factors.append((i, weight * expand(c.kappa)))
            if any(c.coupled) and done is None:
                decay = factors[-1][1] * ledger.coupled(i) * ledger.parameters(i)
                credits.add(credits.at(i).regularization, psi, decay, -1.0)
            penalty = ledger.penalty(i)
            if penalty is not None and done is None:
                credits.add(credits.at(i).penalty, psi, factors[-1][1] * penalty, -1.0)
            weight = weight * expand(c.mu)
        else:
            carried = weight * ledger.converted(ledger.trajectory.initial_buffer)
            if done is None:
                credits.add(self._carried, psi, carried, -1.0)
        done = done or 0
        if self._per_sample and not self._problem.query.keeps("step") and credits.directional is None:
            credits.batches_summed(psi, factors, done, advance)
            return
        for number, (i, factor) in enumerate(factors[done:], start=done + 1):
            credits.batch(i, psi, factor)
            advance(number)


def _add_scaled(target: Tensor, rows: Tensor, scale: Tensor | float) -> None:
    """target += scale ⊙ rows, without a temporary of their size."""
    if isinstance(scale, Tensor):
        target.addcmul_(rows, scale.expand_as(rows))
    elif scale:
        target.add_(rows, alpha=scale)


def _largest(weight: Tensor | float) -> float:
    return float(weight.abs().max()) if isinstance(weight, Tensor) else abs(weight)
