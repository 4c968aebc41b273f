"""What the contractions share: accumulated per-sample products for a block of rows, and the block made of them.

Shapes: R rows (tests × outputs of one block), N training samples, G groups, D parameters, n samples of a part of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from explaind.attribution.block import Block, Quantity
from explaind.attribution.directional import Directional
from explaind.attribution.problem import Problem, blocks
from explaind.features.batched import BLOCK
from explaind.features.groups import Partition
from explaind.features.seen import Seen

DIRECTIONAL_BLOCK = 8192  # items whose inputs and δ are put together at once
SUMMED_BYTES = 1 << 28  # of the gradients that a block of samples sums before one product


class Credited(NamedTuple):
    """What is credited to one update, or to all: kernel [G, N or 1, R], regularization and penalty [G, R]."""

    kernel: Tensor
    regularization: Tensor
    penalty: Tensor


class Credits:
    """What is credited to each update, or to all together.

    Args:
        problem: with training gradients.
        rows: R.
        per_sample: keep the train axis (else batches are credited as a whole).
        directional: products of samples' gradients with the rows, without forming them; None: they are formed.
    """

    def __init__(
        self, problem: Problem, rows: int, *, per_sample: bool, directional: Directional | None = None
    ) -> None:
        self.index = [problem.partition.index(g) for g in range(len(problem.partition))]
        self._columns = list(problem.model.layout.slices().values())
        self._members = _tensors(problem.partition, self._columns)
        self._problem, self._rows, self._per_sample = problem, rows, per_sample
        self._by_step = problem.query.keeps("step")
        self._batch_gradient = problem.batch_gradient()
        self.directional = directional
        self._credited: dict[int | None, Credited] = {}
        self._whole: dict[int | None, Tensor] = {}  # of all samples, where only some are kept

    def at(self, s: int) -> Credited:
        """Where update s is credited."""
        key = s if self._by_step else None
        if key not in self._credited:
            samples = self._problem.kept_samples if self._per_sample else 1
            kernel = torch.zeros(len(self.index), samples, self._rows, dtype=self._problem.dtype)
            without = torch.zeros(2, len(self.index), self._rows, dtype=self._problem.dtype)
            self._credited[key] = Credited(kernel, *without)
        return self._credited[key]

    def state(self) -> Any:
        """What has been credited so far, by reference, for `restore`."""
        return {key: tuple(credited) for key, credited in self._credited.items()}, self._whole

    def restore(self, state: Any) -> None:
        """Go on from the state of credits of the same problem and rows."""
        credited, self._whole = state
        self._credited = {key: Credited(*each) for key, each in credited.items()}

    def gathered(self) -> tuple[tuple[int, ...] | None, Tensor, Tensor, Tensor, Tensor | None]:
        """Credited updates (None for their sum), kernel [S', G, N, R], regularization and penalty [S', G, R], and what the
        samples that are not kept contribute together, [S', G, R]; None where all are kept."""
        if not self._credited:
            self.at(self._problem.window[0])
        steps = tuple(sorted(self._credited)) if self._by_step else None
        keys = steps or (None,)
        kernels, decays, penalties = zip(*(self._credited[s] for s in keys), strict=True)
        kernel = kernels[0][None] if len(kernels) == 1 else torch.stack(kernels)
        others = None
        if self._per_sample and self._problem.chosen is not None:
            nothing = torch.zeros_like(decays[0])
            others = torch.stack([self._whole.get(s, nothing) for s in keys]) - kernel.sum(2)
        return steps, kernel, torch.stack(decays), torch.stack(penalties), others

    def add(self, target: Tensor, rows: Tensor, vector: Tensor | float, sign: float = 1.0) -> None:
        """target [G, R] += sign · Σ_{p∈G} rows[:, p] vector[p], rows [R, D]."""
        if isinstance(vector, Tensor):
            for group, part in enumerate(self.index):
                target[group] += sign * (rows[:, part] @ vector[part])

    def batch(self, s: int, adjoint: Tensor, factor: Tensor | float) -> None:
        """Credit update s's batch: −⟨adjoint, factor ⊙ (± c_s g_{s,k})⟩ for each of its samples k."""
        kernel, scale = self.at(s).kernel, factor * self._problem.ledger.entering(s)
        if not self._per_sample:
            self.add(kernel[:, 0], adjoint, factor * self.whole(s), -1.0)
            return
        everyone = slice(0, kernel.shape[1])
        if self.directional is not None:
            vectors, theta = adjoint * -scale, self._problem.ledger.parameters(s)
            for seen in self._seen(s, everyone):
                for few in (seen.take(index) for index in torch.arange(len(seen)).split(DIRECTIONAL_BLOCK)):
                    for group, products in enumerate(self.directional(theta, vectors, few)):
                        kernel[group].index_add_(0, few.indices, products)
        else:
            for places, pulled in self._pulled(s, everyone):
                self._products(kernel, adjoint, places, pulled, -scale)
        if self._problem.chosen is not None:
            self._add_whole(s, adjoint, factor * self.whole(s))

    def batches_summed(
        self,
        adjoint: Tensor,
        factors: list[tuple[int, Tensor | float]],
        first: int,
        advance: Callable[[int], None],
    ) -> None:
        """Credit several updates that share one adjoint: sum each sample's gradients first, then one product.

        Args:
            adjoint, factors: Ψ [R, D], and what it is multiplied by for each of the updates.
            first: blocks of samples that are credited already.
            advance: called with the number of credited blocks after each.
        """
        kernel = self.at(0)[0]
        parts = blocks(kernel.shape[1], self.width)
        for number, part in enumerate(parts[first:], start=first):
            total: Tensor | None = None
            for s, factor in factors:
                total = self._add_entering(total, s, part, -factor)
            if total is not None:
                for group, columns in enumerate(self.index):
                    kernel[group, part] += total[:, columns] @ adjoint[:, columns].T
            advance(number + 1)
        if self._problem.chosen is not None and factors:  # nothing is credited to a single update here
            self._add_whole(0, adjoint, sum(factor * self.whole(s) for s, factor in factors))

    def _add_whole(self, s: int, adjoint: Tensor, gradient: Tensor) -> None:
        """Credit a whole batch: −⟨adjoint, gradient⟩."""
        key = s if self._by_step else None
        if key not in self._whole:
            self._whole[key] = torch.zeros(len(self.index), self._rows, dtype=self._problem.dtype)
        self.add(self._whole[key], adjoint, gradient, -1.0)

    def whole(self, s: int) -> Tensor:
        """± c_s g_s of all samples of update s together, [D]."""
        return self._problem.ledger.entering(s) * self._batch_gradient(s)

    @property
    def width(self) -> int:
        """Samples whose summed gradients are held at once."""
        return max(BLOCK, SUMMED_BYTES // (self._problem.model.layout.size * self._problem.dtype.itemsize))

    def entering(self, s: int, part: slice) -> Tensor | None:
        """± c_s g_{s,k} of the samples in `part` of the train axis, [n, D]; None if update s saw none of them."""
        return self._add_entering(None, s, part, 1.0)

    def _add_entering(
        self, total: Tensor | None, s: int, part: slice, factor: Tensor | float
    ) -> Tensor | None:
        """total [n, D], None for zeros, plus factor ⊙ (± c_s g_{s,k}) of the samples in `part`, in place.

        This takes as long as memory needs, so each gradient is read once, where it was formed: samples that follow one another,
        as those of a full batch do, are added where they belong.
        """
        scale = factor * self._problem.ledger.entering(s)
        for indices, pulled in self._pulled(s, part):
            if total is None:
                shape = part.stop - part.start, self._problem.model.layout.size
                total = torch.zeros(shape, dtype=pulled[0].dtype, device=pulled[0].device)
            places = indices - part.start
            follow = bool((places.diff() == 1).all())
            rows = total[int(places[0]) : int(places[-1]) + 1] if follow else total
            for columns, gradients in zip(self._columns, pulled, strict=True):
                by = scale[columns] if isinstance(scale, Tensor) else scale
                if not follow:
                    rows[:, columns].index_add_(0, places, gradients * by)
                elif isinstance(by, Tensor):
                    rows[:, columns].addcmul_(gradients, by)
                else:
                    rows[:, columns].add_(gradients, alpha=by)
        return total

    def _pulled(self, s: int, part: slice) -> Iterator[tuple[Tensor, list[Tensor]]]:
        """(places [n] on the train axis, g_k [n, entries] by tensor of θ) of update s's samples in `part` of it, a block at a
        time."""
        gradients = self._problem.gradients
        theta = gradients.parameters(s)
        for seen in self._seen(s, part):
            for index in torch.arange(len(seen)).split(BLOCK):
                few = seen.take(index)
                yield few.indices, few.gradients(theta)

    def _seen(self, s: int, part: slice) -> Iterator[Seen]:
        """Update s's samples in `part` of the train axis, by micro-batch, with their places on it as indices."""
        for seen in self._problem.gradients.cotangents(s):
            if not len(seen):  # every position of a micro-batch may be padding
                continue
            if self._problem.chosen is not None:
                seen = replace(seen, indices=self._problem.chosen.places(seen.indices))
            inside = (seen.indices >= part.start) & (seen.indices < part.stop)
            if bool(inside.all()):
                yield seen
            elif bool(inside.any()):
                yield seen.take(inside)

    def _products(
        self, kernel: Tensor, adjoint: Tensor, places: Tensor, pulled: list[Tensor], scale: Tensor | float
    ) -> None:
        """kernel [G, N, R] += ⟨adjoint [R, D], scale ⊙ g [n, D]⟩ per group, at the samples `places`; g by tensor of θ."""
        scaled = [
            gradients * (scale[columns] if isinstance(scale, Tensor) else scale)
            for columns, gradients in zip(self._columns, pulled, strict=True)
        ]
        if self._members is None:
            whole = torch.cat(scaled, 1)
            for group, part in enumerate(self.index):
                kernel[group].index_add_(0, places, whole[:, part] @ adjoint[:, part].T)
            return
        for group, members in enumerate(self._members):
            products = scaled[members[0]] @ adjoint[:, self._columns[members[0]]].T
            for tensor in members[1:]:
                products.addmm_(scaled[tensor], adjoint[:, self._columns[tensor]].T)
            kernel[group].index_add_(0, places, products)


def _tensors(partition: Partition, columns: list[slice]) -> list[list[int]] | None:
    """The tensors of θ in each group; None if a group has a part of one."""
    if partition.label is None:
        return None
    of = [partition.label[part].unique() for part in columns]
    if any(len(labels) != 1 for labels in of):
        return None
    return [[t for t, labels in enumerate(of) if int(labels) == group] for group in range(len(partition))]


def replay_bound(problem: Problem, s: int, phi: Tensor) -> Tensor:
    """What update s may contribute to the replay error of rows phi [R, D], if it is as exact as was accepted, [R].

    |Φ·(û − u)| ≤ ‖Φ‖ ‖û − u‖; gradients before the window's tail and rounding of the sum are allowed for as well.
    """
    accepted = 0.0 if problem.replay is None else problem.replay.bound(s)
    # A left-out gradient weighs little beside the momentum it was part of, which may be larger than the present one.
    allowed = (
        accepted + problem.half + 10 * problem.query.tail_tolerance + 64 * torch.finfo(problem.dtype).eps
    )
    size, norms = problem.ledger.update(s).norm(), torch.linalg.vector_norm(phi, dim=1)
    return allowed * size * norms


def contracted(
    problem: Problem,
    tests: slice,
    *,
    steps: tuple[int, ...] | None,
    totals: tuple[int, ...] | None,
    kernel: Tensor,
    regularization: Tensor,
    penalty: Tensor,
    others: Tensor | None,
    carried: Tensor,
    explained: Tensor,
    change: Tensor,
    bound: Tensor,
    error: Tensor,
    nodes: Tensor,
) -> Block:
    """The block of all explained updates, from numbers by row; S' and S'' are one where updates are summed over.

    Args:
        problem, tests: what the numbers are of.
        steps: the S' updates that are credited; None for their sum.
        totals: the S'' updates of what is credited to no single one where `steps` are those of samples; None for their sum.
        kernel: [S', G, N or 1, R].
        regularization, penalty: [S', G, R].
        others: the training samples that are not kept, together, [S', G, R]; None where all are.
        carried: momentum from before the recording, [S'', G, R].
        explained, change, bound: see `explaind.attribution.block.Quantity`, [S'', R].
        error, nodes: worst |quadrature residual| and mean nodes of every explained update, [S].
    """
    outputs = problem.outputs if problem.query.resolves("output") else 1

    def quantity(name: str, labels: tuple[int, ...] | None, values: Tensor) -> Quantity:
        """From [S, G, N, R]."""
        return Quantity((name,), labels, values.unflatten(-1, (-1, outputs)).unsqueeze(2).unbind(1))

    quantities = [
        quantity("kernel", steps, kernel),
        quantity("regularization", steps, regularization.unsqueeze(2)),
    ]
    if problem.trajectory.penalized:
        quantities.append(quantity("penalty", steps, penalty.unsqueeze(2)))
    if others is not None:
        quantities.append(quantity("others", steps, others.unsqueeze(2)))
    if bool((problem.trajectory.initial_buffer != 0).any()):
        quantities.append(quantity("carried", totals, carried.unsqueeze(2)))
    rest = {"explained": explained, "change": change, "bound": bound}
    if problem.query.importance:
        parts = [kernel.sum((1, 2)), regularization.sum(1), penalty.sum(1), carried.sum(1)]
        if others is not None:
            parts.append(others.sum(1))
        if len(explained) == 1:
            parts = [part.sum(0, keepdim=True) for part in parts]
        rest["replay"] = explained - sum(parts)
    quantities += [quantity(name, totals, values[:, None, None]) for name, values in rest.items()]
    share = (tests.stop - tests.start) / len(problem.test)
    return Block(tests, problem.steps, tuple(quantities), error=error, nodes=nodes * share)
