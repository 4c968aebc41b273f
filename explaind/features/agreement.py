"""Do two evaluations of the same numbers agree up to rounding?

The bound is ROUNDINGS · ε · (largest entry of the tensor): 3.1e-5 of the largest entry in float32, 5.7e-14 in float64. What it
lets through is therefore at most that share of the largest influence of a group of parameters at one node of one block.
It is relative to a tensor's largest entry, not to each entry, since entries that cancel carry the rounding of their terms.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

#: Differences up to this many ε of the largest entry are rounding. Measured on the Transformer and the image models of the
#: experiments: a trace gives the bits of the plain evaluation in blocks of the same size; between blocks of 4 and of up to 256
#: samples up to 5 ε. The rest is room for models whose terms cancel and for kernels that add in no fixed order.
ROUNDINGS = 1 << 8


def first_difference(ours: Sequence[Tensor], plain: Sequence[Tensor]) -> str | None:
    """None where all tensors agree up to rounding, else the first difference in words."""
    if len(ours) != len(plain):
        return f"{len(ours)} results in place of {len(plain)}"
    for one, other in zip(ours, plain, strict=True):
        if one.shape != other.shape or one.dtype != other.dtype:
            return f"{tuple(one.shape)}, {one.dtype} in place of {tuple(other.shape)}, {other.dtype}"
        if (place := differing_entry(one, other)) is not None:
            return f"{float(one.flatten()[place]):.6g} in place of {float(other.flatten()[place]):.6g}"
    return None


def differing_entry(one: Tensor, other: Tensor, *, relative: float | None = None) -> int | None:
    """The flat position where two tensors of one shape differ most, if that is more than rounding; else None.

    Args:
        one, other: of the same shape and dtype. Infinities and NaN must stand at the same places.
        relative: the accepted difference in units of the largest finite entry; by default ROUNDINGS · ε.
    """
    if one.numel() == 0:
        return None
    if not (one.is_floating_point() or one.is_complex()):
        wrong = one != other
        return int(wrong.flatten().to(torch.uint8).argmax()) if bool(wrong.any()) else None
    limits = torch.finfo(one.dtype)
    relative = ROUNDINGS * limits.eps if relative is None else relative
    gap = (one - other).abs()
    gap[(one == other) | (one.isnan() & other.isnan())] = 0  # equal infinities have a difference of NaN
    gap = gap.nan_to_num(nan=torch.inf).flatten()
    finite = torch.maximum(one.abs(), other.abs()).nan_to_num(nan=0.0, posinf=0.0)
    place = int(gap.argmax())
    return place if float(gap[place]) > relative * float(finite.max()) + limits.tiny else None
