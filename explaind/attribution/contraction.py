"""What the two contractions share: their answer, and gradients of a part of the training samples.

Shapes: R rows (tests × outputs of one block), N training samples, G groups, D parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from explaind.attribution.problem import Problem, blocks
from explaind.features.batched import BLOCK

PART_BYTES = 1 << 28  # of the gradients of one part of the training samples


@dataclass
class Contraction:
    """Signed influences on one block of rows.

    Attributes:
        steps: labels of the S' credited updates, rising; (None,) if the step axis is summed over.
        kernel: [S', G, N or 1, R].
        regularization: [S', G, R].
        carried: [S'', G, R], momentum that a resumed optimizer brought along.
        explained, change: Φ·u and the exact change, [S'', R]: by update if credited by update, else summed, S'' = 1.
        error, nodes: worst |quadrature residual| and mean nodes per row's sample, of every explained update, [S].
    """

    steps: tuple[int | None, ...]
    kernel: Tensor
    regularization: Tensor
    carried: Tensor
    explained: Tensor
    change: Tensor
    error: Tensor
    nodes: Tensor


Observer = Callable[[int, Tensor], None]
"""Sees (s, Φ_s [R, D]) of every step before it is contracted; for views that need Φ too."""


def parts(problem: Problem) -> Sequence[slice]:
    """The training samples, cut so that one vector [D] for each of a part's samples fits into PART_BYTES."""
    width = max(BLOCK, PART_BYTES // (problem.model.layout.size * problem.dtype.itemsize))
    return blocks(len(problem.gradients.train), width)


def add_gradients(problem: Problem, s: int, part: slice, scale: Tensor | float, total: Tensor) -> bool:
    """total [n, D] += scale ⊙ g_{s,k} for the samples k of update s's batch that are in `part`. Were there any?"""
    gradients, found = problem.gradients, False
    theta = gradients.parameters(s)
    for indices, delta in gradients.cotangents(s):
        inside = (indices >= part.start) & (indices < part.stop)
        members, cotangents = indices[inside], delta[inside]
        found = found or len(members) > 0
        for few in blocks(len(members), BLOCK):
            pulled = gradients.samples(theta, members[few], cotangents[few])
            total.index_add_(0, members[few] - part.start, pulled.mul_(scale))
    return found


def empty(problem: Problem, part: slice) -> Tensor:
    """Zeros [n, D] for the samples of a part."""
    return torch.zeros(part.stop - part.start, problem.model.layout.size, dtype=problem.dtype)
