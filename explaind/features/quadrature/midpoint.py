"""The composite midpoint rule, refined by tripling: for any network, with kinks or without.

The rule with n nodes t = (k + ½)/n nests under tripling: 1, 3, 9, 27, 81 … nodes reuse all earlier ones. Only samples whose worst
output is off by more than the tolerance get the next level. Where the most nodes do not reach the tolerance, traced integrands
are compared with plain ones, so that a wrong trace is never taken for curvature.
"""

from __future__ import annotations

import torch
from torch import Tensor

from explaind.features.quadrature.integral import Evaluate, Integral, Predict
from explaind.features.spot_check import checked, traced_calls

__all__ = ["adaptive", "fixed", "midpoints", "refinement"]


def midpoints(count: int) -> list[float]:
    """The nodes of the composite midpoint rule with `count` cells on [0, 1]."""
    return [(k + 0.5) / count for k in range(count)]


def refinement(count: int) -> list[float]:
    """The nodes that turn the rule with `count` nodes into the one with 3·count."""
    return [t for k, t in enumerate(midpoints(3 * count)) if k % 3 != 1]


def fixed(evaluate: Evaluate, predict: Predict, change: Tensor, nodes: int) -> Integral:
    """The midpoint rule with the same number of nodes for every sample."""
    parts: list[Tensor] = []
    for t in midpoints(nodes):
        integrands = evaluate(t, None)
        parts = (
            [total.add_(part) for total, part in zip(parts, integrands, strict=True)] if parts else integrands
        )
    parts = [total.div_(nodes) for total in parts]
    return Integral(parts, change - predict(parts), torch.full((len(change),), nodes))


def adaptive(
    evaluate: Evaluate, predict: Predict, change: Tensor, *, tolerance: float, max_nodes: int, axis: int
) -> Integral:
    """Triple the nodes of the samples whose residual exceeds the tolerance, until it does not or max_nodes is reached.

    Args:
        evaluate, predict: integrands at a node, and the change they imply [n, O].
        change: exact change of the value over the step, [n, O].
        tolerance: largest accepted |residual| of a sample's worst output, in units of the value.
        max_nodes: a sample stops at the last power of three that is not above this.
        axis: sample axis of the integrands.

    Raises:
        TraceError: the tolerance is not reached, and the traced integrands are not the model's.
    """
    traced = traced_calls()
    parts = evaluate(0.5, None)
    residual = change - predict(parts)
    nodes = torch.ones(len(change), dtype=torch.int64)
    count = 1
    while 3 * count <= max_nodes:
        active = torch.nonzero(~(residual.abs().amax(1) <= tolerance)).squeeze(1)
        if len(active) == 0:
            break
        everyone = len(active) == len(change)
        index = None if everyone else active
        kept = parts if everyone else [part.index_select(axis, active) for part in parts]
        kept = [part.mul_(count) for part in kept]
        for t in refinement(count):
            kept = [part.add_(more) for part, more in zip(kept, evaluate(t, index), strict=True)]
        count *= 3
        kept = [part.div_(count) for part in kept]
        parts = (
            kept
            if everyone
            else [part.index_copy_(axis, active, better) for part, better in zip(parts, kept, strict=True)]
        )
        nodes[active] = count
        residual[active] = change[active] - predict(kept)
    worst, order = residual.abs().amax(1).sort(descending=True)  # NaN comes first
    above = order[~(worst <= tolerance)]
    if len(above) and traced_calls() > traced:
        with checked():  # the worst first, since the first samples of a block are compared
            evaluate(0.5, above)
    return Integral(parts, residual, nodes)
