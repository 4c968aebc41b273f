"""The position of each parameter in the flat vector θ ∈ R^D.

The order is that of `model.named_parameters()`, a tied parameter once, under its first name. Only parameters that the
optimizer moves are part of θ; everything else about the model is a constant of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Names, shapes and optimizer groups of the D recorded parameters.

    Attributes:
        names: parameter names, in the model's order.
        shapes: shape of each.
        group: index into `optimizer.param_groups` of each.
        dtype: the one dtype they share, `torch.float32` or `torch.float64`.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    group: tuple[int, ...]
    dtype: torch.dtype

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of elements of each parameter."""
        return tuple(prod(shape) for shape in self.shapes)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Position of each parameter's first element in the flat vector."""
        return tuple(accumulate(self.sizes, initial=0))[:-1]

    @cached_property
    def size(self) -> int:
        """D, the length of the flat vector."""
        return sum(self.sizes)

    def slices(self) -> dict[str, slice]:
        """The part of the flat vector that belongs to each parameter."""
        parts = zip(self.names, self.offsets, self.sizes, strict=True)
        return {name: slice(offset, offset + size) for name, offset, size in parts}

    def unflatten(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of `flat` [..., D] by name, each [..., *shape]; leading axes are kept."""
        parts = zip(self.names, self.shapes, flat.split(self.sizes, dim=-1), strict=True)
        return {name: part.reshape((*flat.shape[:-1], *shape)) for name, shape, part in parts}

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The inverse of `unflatten`: tensors [..., *shape] by name to one [..., D]. Extra names are ignored."""
        parts = []
        for name, shape in zip(self.names, self.shapes, strict=True):
            tensor = tensors[name]
            parts.append(tensor.reshape((*tensor.shape[: tensor.dim() - len(shape)], prod(shape))))
        return torch.cat(parts, dim=-1)

    def to_json(self) -> dict[str, Any]:
        """The layout as JSON values, for a manifest."""
        return {
            "names": list(self.names),
            "shapes": [list(shape) for shape in self.shapes],
            "group": list(self.group),
            "dtype": str(self.dtype).removeprefix("torch."),
            "offsets": list(self.offsets),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Layout:
        """The inverse of `to_json`."""
        return cls(
            names=tuple(value["names"]),
            shapes=tuple(tuple(shape) for shape in value["shapes"]),
            group=tuple(value["group"]),
            dtype=getattr(torch, value["dtype"]),
        )
