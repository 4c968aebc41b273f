"""Products of per-sample gradients with a few vectors, without the gradients (method.md section 4.3).

For a vector Λ [D] the products ⟨Λ, g_k⟩ = δ_k · (∂f(x_k)/∂θ · Λ) of all samples k of a batch are one Jacobian-vector product of
its outputs: about two forward passes, where the gradients of all samples take three and n × D numbers. Restricted to a group of
parameters, Λ is zero elsewhere: one product per row and group.

Shapes: R rows, G groups, D parameters, n samples, F operations of one sample's forward pass.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from explaind.features.seen import Seen
from explaind.features.tangents import GroupTangents
from explaind.features.training_passes import TrainingPass

__all__ = ["Directional", "cheaper", "forward_passes"]

# Costs in operations of a matrix product, fitted to `python -m benchmarks contraction`: ratios, alike on most machines.
MEMORY = 150.0  # to write, weight and read one number of a sample's gradient
CONVOLUTION = 6.0  # an operation of a convolution, which vmap and dual numbers make slower than a product's
GRADIENT = 3.5  # forward passes that a sample's gradient takes
PRODUCTS, PRODUCT = (
    3.0,
    0.5,
)  # forward passes of dual numbers with any number of tangents, and for each of these
ROWS_AT_ONCE = 8  # tangents of a batch of samples that are propagated together


class Directional:
    """⟨vector, g_k⟩ by group, for the samples of a batch.

    Args:
        problem: with training gradients and named groups.
    """

    def __init__(self, problem: Any) -> None:
        self._partition = problem.partition
        self._products: dict[TrainingPass, GroupTangents] = {}

    def __call__(self, theta: Tensor, vectors: Tensor, seen: Seen) -> list[Tensor]:
        """θ [D], vectors [R, D], n samples → per group [n, R]."""
        forward = seen.forward
        if forward not in self._products:

            def pulled(parameters: Mapping[str, Tensor], x: Tensor, delta: Tensor, *noise: Tensor) -> Tensor:
                return (forward.batch(parameters, x, noise) * delta).reshape(len(x), -1).sum(1, keepdim=True)

            self._products[forward] = GroupTangents(pulled, self._partition)
        products, arguments = self._products[forward], seen.arguments()
        parts = [products(theta, few, *arguments) for few in vectors.split(ROWS_AT_ONCE)]
        return [torch.cat([one.squeeze(-1) for one in group]).T for group in zip(*parts, strict=True)]


def cheaper(problem: Any, rows: int) -> bool:
    """Do `rows` products cost less than the gradients? Counted in operations, so that every machine decides alike.

    Never for single parameters: each is a group.
    """
    if problem.partition.single or problem.gradients is None or problem.trajectory.autocast:
        return False  # tangents in half precision are rounded otherwise than the gradients that entered the updates
    size, forward = problem.model.layout.size, forward_operations(problem)
    gradients = GRADIENT * forward + size * (MEMORY + 2.0 * rows)
    return forward * forward_passes(problem, rows) < gradients


def forward_passes(problem: Any, rows: int) -> float:
    """How many forward passes over a sample the products with `rows` vectors take the time of."""
    return PRODUCTS + PRODUCT * rows * len(problem.partition)


def forward_operations(problem: Any) -> float:
    """F: multiplications and additions of the model on one training sample, convolutions weighted, and one of each parameter."""
    from torch.utils.flop_counter import FlopCounterMode

    batch = problem.trajectory.step(0).batches[0]
    x, _ = problem.gradients.train.seen(batch.indices[:1], None if batch.views is None else batch.views[:1])
    with warnings.catch_warnings(), torch.no_grad(), FlopCounterMode(display=False) as counter:
        # The counter's hooks are global, which compiled modules warn of.
        warnings.filterwarnings("ignore", "Using `torch.compile")
        problem.model(problem.gradients.parameters(0), x)
    weighted = problem.model.layout.size
    for operation, count in counter.get_flop_counts()["Global"].items():
        weighted += count * (CONVOLUTION if "convolution" in str(operation) else 1.0)
    return weighted
