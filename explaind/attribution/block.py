"""What an algorithm yields: the influences of some updates on one block of test samples.

Forward and reverse mode yield a block per update, the contractions (adjoint, buffered) one for all updates. Where a query does
not need single samples or outputs, an algorithm may have summed over them already; its axis then has length one.

Axes of every quantity, by parameter group: [S', K, N, n, O]

    S'  credited updates, or one for their sum      n   test samples of the block, or one
    K   terms of the update                         O   columns of the target, or one
    N   training samples, or one
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

UNGROUPED = ("change", "explained", "bound", "replay")
"""Quantities of all parameters together, not by group."""


@dataclass(frozen=True)
class Quantity:
    """Numbers credited to updates, in units of the target.

    Attributes:
        names: of the K terms ("kernel", "regularization", "carried"), or one of

            change      the exact change of the target
            explained   Φ·u, where gradients were recomputed
            replay      Φ·u − Σ of the terms
            bound       what `replay` can be if every update is as exact as was accepted, Σ_s accepted_s ‖u_s‖ ‖Φ_s‖
        steps: the S' credited updates, rising; None for a sum over all that are explained.
        groups: one tensor for each of the G parameter groups, [S', K, N, n, O], or one tensor of all, [G, S', K, N, n, O].
    """

    names: tuple[str, ...]
    steps: tuple[int, ...] | None
    groups: Sequence[Tensor] | Tensor


@dataclass(frozen=True)
class Block:
    """Some updates and one block of test samples.

    Attributes:
        tests: the test samples.
        steps: the S explained updates.
        quantities: signed; see `Quantity`.
        error: worst |quadrature residual| of each update over the block's rows, in units of the target, [S].
        nodes: mean nodes of each update, times the block's share of the test samples, so that blocks add up, [S].
    """

    tests: slice
    steps: tuple[int, ...]
    quantities: tuple[Quantity, ...]
    error: Tensor
    nodes: Tensor


Advance = Callable[[], None]
"""Called once for each update of a block that is done, to show the progress."""


def single(names: tuple[str, ...], s: int, groups: Sequence[Tensor] | Tensor) -> Quantity:
    """A quantity of update s alone, from one [K, n, O] for each group, or [G, K, n, O]."""
    if isinstance(groups, Tensor):
        return Quantity(names, (s,), groups[:, None, :, None])
    return Quantity(names, (s,), [group[None, :, None] for group in groups])
