"""How gradients were scaled between backward and the update: by one number, one for each tensor, or entry by entry.

Clipping by value, by norm, or both in any order makes of a tensor's gradient r

    sign(r) · min(a |r|, m) = c ⊙ r,      c = min(a, m / |r|)

with one scale a and one ceiling m. The diagonal c is observed: from then on it is a number for each entry that every sample's
gradient of that update is multiplied by. Other changes of single entries (noise, an edited tensor) are no such factor, and none
is kept of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["clip_factor", "cut_entries", "factors"]

ULPS = 8  # rounding of a gradient that was scaled, in units of its last place


def clip_factor(before: np.ndarray, after: np.ndarray, dtype: torch.dtype, size: int) -> tuple[float, bool]:
    """How gradients were scaled between backward and the update, from their norms per parameter.

    Args:
        before: norms right after backward, float64 [parameters].
        after: norms the optimizer sees, float64 [parameters].
        dtype: of the gradients, whose rounding the comparison allows for.
        size: D, for the rounding of gradients that are nearly zero.

    Returns:
        ‖after‖ / ‖before‖ over all parameters (exactly 1.0 when nothing was scaled), and whether the same factor
        explains each parameter.
    """
    if np.array_equal(before, after):
        return 1.0, True
    total = float(np.linalg.norm(before))
    factor = float(np.linalg.norm(after)) / total if total > 0 else 1.0
    info = torch.finfo(dtype)
    slack = ULPS * info.eps * factor * before + info.tiny * info.eps * size**0.5
    return factor, bool(np.all(np.abs(after - factor * before) <= slack))


def factors(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """after / before of each parameter; 1 where there was nothing to scale."""
    return np.divide(after, before, out=np.ones_like(after), where=before > 0)


def cut_entries(
    raw: Mapping[int, Tensor], parameters: Sequence[Tensor], norms: np.ndarray
) -> tuple[bool, dict[int, Tensor]]:
    """Which tensors were changed entry by entry, and c of each.

    Args:
        raw: a parameter's id → its gradient right after backward.
        parameters: the tensors of θ, whose gradients are those the optimizer gets.
        norms: of both, float64 [2, tensors].

    Returns:
        whether any was, and tensor → c, flat, on the CPU; none at all if one of them was not clipped but changed otherwise.
    """
    pairs = {
        index: (raw[id(parameter)].flatten(), parameter.grad.detach().to_dense().flatten())
        for index, parameter in enumerate(parameters)
        if id(parameter) in raw and parameter.grad is not None and norms[0, index] != norms[1, index]
    }
    if not pairs:
        return False, {}
    ratio = factors(norms[0], norms[1])
    scaled = [_agrees(before * ratio[i], after).cpu() for i, (before, after) in pairs.items()]
    inside = [index for index, same in zip(pairs, torch.stack(scaled).tolist(), strict=True) if not same]
    found: dict[int, Tensor] = {}
    for index in inside:
        clipped = _clipped(*pairs[index])
        if clipped is None:
            return True, {}
        found[index] = clipped.cpu()
    return bool(inside), found


def _agrees(expected: Tensor, after: Tensor) -> Tensor:
    """Is `after` the expected vector, up to rounding of its own precision? bool []."""
    info = torch.finfo(after.dtype)
    slack = ULPS * (info.eps * after.abs() + info.tiny * info.eps)
    return ((after - expected).abs() <= slack).all()


def _clipped(before: Tensor, after: Tensor) -> Tensor | None:
    """c [n] with after = c ⊙ before, if it is that of clipping; else None."""
    ceiling = after.abs().max()
    whole = after.abs() < ceiling  # what was cut has exactly the ceiling's size
    kept = torch.linalg.vector_norm(before[whole], dtype=torch.float64)
    scale = torch.linalg.vector_norm(after[whole], dtype=torch.float64) / kept if bool(kept > 0) else None
    limit = ceiling / before.abs()
    if scale is not None:
        limit = torch.where(whole, scale.to(limit.dtype), limit)
    elif bool(whole.any()):
        limit = torch.where(whole, 1.0, limit)  # zeros beside nothing but cut entries tell no scale
    if scale is not None and not bool((limit <= scale * (1 + ULPS * torch.finfo(limit.dtype).eps)).all()):
        return None
    return limit if bool(_agrees(limit * before, after)) else None
