"""Contraction with the momentum adjoint: train samples kept (method.md section 4.3).

With b the optimizer's buffer (ledger.coefficients), the influence on a row is linear in every d_i, and its derivative is

    Ψ_i = ρ_i P_i ⊙ Φ_i [i ∈ S] + μ_{i+1} Ψ_{i+1}          adjoint of b_{i+1}, run backwards from the end of the window S
    Λ_i = κ_i Ψ_i + σ_i P_i ⊙ Φ_i [i ∈ S]                    adjoint of d_i

so Σ_{s∈S} ⟨Φ_s, −φ_{s,k}⟩ = −Σ_i ⟨Λ_i, ± c_i g_{i,k}⟩: a rows × D state and one product per batch. Before the window Λ_i is
Ψ times a number, so the gradients of the tail are summed first, sample by sample, and contracted once.

Shapes: R rows (tests × outputs of one block), N training samples, G groups, D parameters, n samples of a batch part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from explaind.attribution.contraction import Contraction, Observer, add_gradients, empty, parts
from explaind.attribution.problem import Problem, blocks
from explaind.attribution.reverse import StepRows
from explaind.features.batched import BLOCK
from explaind.features.rows import FeatureRows


class Adjoint:
    """Contracts one block of test samples with the training samples of the window.

    Args:
        problem: with training gradients.
        tests: the block of test samples.
        rows: the feature map's rows.
        per_sample: keep the train axis (else it is summed: lineage "sample" on a step axis).
        observe: called with every Φ_s.
    """

    def __init__(
        self,
        problem: Problem,
        tests: slice,
        rows: FeatureRows,
        *,
        per_sample: bool,
        observe: Observer | None = None,
    ) -> None:
        self._problem, self._ledger = problem, problem.ledger
        self._step_rows = StepRows(problem, tests, rows)
        self._per_sample, self._observe = per_sample, observe
        self._steps_kept = problem.query.keeps("step")
        self._index = [problem.partition.index(g) for g in range(len(problem.partition))]
        self._batch_gradient = problem.batch_gradient()
        tested = (tests.stop - tests.start) if problem.query.resolves("test") else 1
        self._rows = tested * (problem.outputs if problem.query.resolves("output") else 1)
        self._by_step: dict[int | None, tuple[Tensor, Tensor]] = {}
        self._carried = torch.zeros(len(self._index), self._rows, dtype=problem.dtype)
        self._explained, self._change = torch.zeros(2, self._rows, dtype=problem.dtype)

    def run(self, on_step: Callable[[], None] = lambda: None) -> Contraction:
        """Backwards over the window, then over its tail."""
        start, stop = self._problem.window
        ledger = self._ledger
        position = {s: i for i, s in enumerate(self._problem.steps)}
        self._error = torch.zeros(len(position), dtype=torch.float64)
        self._nodes = torch.zeros(len(position), dtype=torch.float64)
        psi: Tensor | None = None
        later = None  # coefficients of the update after
        for s in range(stop - 1, start - 1, -1):
            c, expand, weighted = ledger.coefficients(s), ledger.expand, None
            if psi is not None:
                psi *= expand(later.mu)
            if s in position:
                phi = self._integrated(s, position[s])
                self._add(self._at(s)[1], phi, -expand(c.decoupled) * ledger.parameters(s))
                weighted = phi.mul_(ledger.preconditioner(s))
                psi = torch.zeros_like(weighted) if psi is None else psi
                _add_scaled(psi, weighted, expand(c.rho))
                on_step()
            if psi is not None:
                self._contract(s, psi, weighted)
            later = c
        if psi is not None:
            self._tail(psi, start)
        return self._result()

    def _integrated(self, s: int, position: int) -> Tensor:
        """Φ_s [R, D], with its sums and certificate noted."""
        block = self._step_rows(s)
        phi = block.phi.flatten(0, 1)
        if self._observe is not None:
            self._observe(s, phi)
        self._explained += phi @ self._ledger.update(s)
        self._change += block.change.flatten()
        self._error[position] = block.residual.abs().max()
        self._nodes[position] = block.nodes.double().mean()
        return phi

    def _at(self, s: int) -> tuple[Tensor, Tensor]:
        """Where update s's batch is credited: kernel [G, N, R] and regularization [G, R]."""
        key = s if self._steps_kept else None
        if key not in self._by_step:
            groups = len(self._index)
            samples = len(self._problem.gradients.train) if self._per_sample else 1
            kernel = torch.zeros(groups, samples, self._rows, dtype=self._problem.dtype)
            self._by_step[key] = (kernel, torch.zeros(groups, self._rows, dtype=self._problem.dtype))
        return self._by_step[key]

    def _result(self) -> Contraction:
        steps = tuple(sorted(self._by_step)) if self._steps_kept else (None,)
        return Contraction(
            steps=steps,
            kernel=torch.stack([self._by_step[s][0] for s in steps])
            if len(steps) > 1
            else self._by_step[steps[0]][0][None],
            regularization=torch.stack([self._by_step[s][1] for s in steps]),
            carried=self._carried[None],
            explained=self._explained[None],
            change=self._change[None],
            error=self._error,
            nodes=self._nodes,
        )

    def _add(self, target: Tensor, rows: Tensor, vector: Tensor | float, sign: float = 1.0) -> None:
        """target [G, R] += Σ_{p∈G} rows[:, p] vector[p]."""
        if isinstance(vector, Tensor):
            for group, part in enumerate(self._index):
                target[group] += sign * (rows[:, part] @ vector[part])

    def _contract(self, s: int, psi: Tensor, weighted: Tensor | None) -> None:
        """Credit update s's batch: ⟨Λ_s, ± c_s g_{s,k}⟩, and coupled decay: ⟨Λ_s, λ θ_s⟩."""
        c, expand = self._ledger.coefficients(s), self._ledger.expand
        kappa = expand(c.kappa)
        if any(c.sigma) and weighted is not None:
            adjoint, factor = psi * kappa, 1.0
            _add_scaled(adjoint, weighted, expand(c.sigma))
        elif isinstance(kappa, Tensor):
            adjoint, factor = psi * kappa, 1.0
        else:
            adjoint, factor = psi, kappa
        kernel, regularization = self._at(s)
        if any(c.coupled):
            self._add(regularization, adjoint, expand(c.coupled) * self._ledger.parameters(s), -factor)
        scale = self._ledger.entering(s)
        if not self._per_sample:
            self._add(kernel[:, 0], adjoint, scale * self._batch_gradient(s), -factor)
            return
        for indices, gradients in self._sample_blocks(s):
            self._credit(kernel, adjoint, indices, gradients * (scale * -factor))

    def _credit(self, kernel: Tensor, adjoint: Tensor, indices: Tensor, gradients: Tensor) -> None:
        """kernel [G, N, R] += ⟨adjoint [R, D], gradients [n, D]⟩ per group, at the samples `indices`."""
        for group, part in enumerate(self._index):
            kernel[group].index_add_(0, indices, gradients[:, part] @ adjoint[:, part].T)

    def _sample_blocks(self, s: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(indices [n], g_k [n, D]) of update s's batch, in parts."""
        gradients = self._problem.gradients
        theta = gradients.parameters(s)
        for indices, delta in gradients.cotangents(s):
            for part in blocks(len(indices), BLOCK):
                yield indices[part], gradients.samples(theta, indices[part], delta[part])

    def _tail(self, psi: Tensor, start: int) -> None:
        """Gradients from before the window: Λ_i = κ_i (Π μ) Ψ."""
        ledger, expand = self._ledger, self._ledger.expand
        weight: Tensor | float = expand(ledger.coefficients(start).mu)
        weights: list[tuple[int, Tensor | float]] = []
        for i in range(start - 1, -1, -1):
            if _largest(weight) <= self._problem.query.tail_tolerance:
                break
            c = ledger.coefficients(i)
            weights.append((i, weight * expand(c.kappa)))
            if any(c.coupled):
                decay = weights[-1][1] * expand(c.coupled) * ledger.parameters(i)
                self._add(self._at(i)[1], psi, decay, -1.0)
            weight = weight * expand(c.mu)
        else:
            carried = weight * ledger.trajectory.initial_buffer.to(self._problem.dtype)
            self._add(self._carried, psi, carried, -1.0)
        if self._steps_kept or not self._per_sample:
            for i, factor in weights:
                self._tail_step(psi, i, factor)
        elif weights:
            self._tail_summed(psi, weights)

    def _tail_step(self, psi: Tensor, i: int, factor: Tensor | float) -> None:
        kernel, scale = self._at(i)[0], factor * self._ledger.entering(i)
        if not self._per_sample:
            self._add(kernel[:, 0], psi, scale * self._batch_gradient(i), -1.0)
            return
        for indices, gradients in self._sample_blocks(i):
            self._credit(kernel, psi, indices, gradients * -scale)

    def _tail_summed(self, psi: Tensor, weights: list[tuple[int, Tensor | float]]) -> None:
        """Sum each sample's weighted gradients over the tail, a block of samples at a time, then contract once."""
        for part in parts(self._problem):
            total, touched = empty(self._problem, part), False
            for i, factor in weights:
                scale = -factor * self._ledger.entering(i)
                touched = add_gradients(self._problem, i, part, scale, total) or touched
            if touched:
                self._credit(self._at(0)[0], psi, torch.arange(part.start, part.stop), total)


def _add_scaled(target: Tensor, rows: Tensor, scale: Tensor | float) -> None:
    """target += scale ⊙ rows, without a temporary of their size."""
    if isinstance(scale, Tensor):
        target.addcmul_(rows, scale.expand_as(rows))
    elif scale:
        target.add_(rows, alpha=scale)


def _largest(weight: Tensor | float) -> float:
    return float(weight.abs().max()) if isinstance(weight, Tensor) else abs(weight)
