"""Units: what the influences of an update are resolved into, from parameter tensors down to the heads of an attention layer.

Every parameter tensor is cut along one axis into equal blocks (most into one). Influences are reduced to units while the
backward pass runs; coarser views (kinds of components, depth, heads) are sums over units, chosen afterwards by the units'
coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from explaind.errors import QueryError

__all__ = ["Cut", "Units", "make_units"]

BLOCK = 1 << 20  # entries multiplied at once: the products of an embedding are never held whole


@dataclass(frozen=True)
class Cut:
    """How one parameter tensor is divided, and where it stands in the model.

    Attributes:
        component: kind of component, such as "attention".
        depth: 0 for the input, 1 … L for the layers, L + 1 for the output.
        projection: name of the tensor within its component, such as "q_proj".
        axis, blocks: the tensor is cut into `blocks` equal parts along `axis`.
    """

    component: str
    depth: int
    projection: str = ""
    axis: int = 0
    blocks: int = 1


@dataclass(frozen=True)
class Units:
    """All units of a model, in the order of its parameters.

    Attributes:
        names: of the parameter tensors.
        cuts: name → how it is divided.
        slices: name → its units' positions among all `size` units.
    """

    names: tuple[str, ...]
    cuts: Mapping[str, Cut]
    slices: Mapping[str, slice]
    size: int

    def coordinates(self) -> dict[str, list[object]]:
        """Values per unit: parameter, component, depth, projection, and head (−1 where a tensor is not divided)."""
        rows = [
            (name, cut.component, cut.depth, cut.projection, block if cut.blocks > 1 else -1)
            for name in self.names
            for cut in (self.cuts[name],)
            for block in range(cut.blocks)
        ]
        columns = ("parameter", "component", "depth", "projection", "head")
        return dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))

    def dot(self, name: str, a: Tensor, b: Tensor) -> Tensor:
        """⟨a, b⟩ over each unit of one parameter tensor, float64 [blocks].

        Products are made in the tensors' own precision, a block of entries at a time, and their sums are added up in float64.
        """
        cut = self.cuts[name]
        a, b = (_unfold(tensor, cut) for tensor in (a, b))
        total = torch.zeros(cut.blocks, dtype=torch.float64, device=a.device)
        step = max(1, BLOCK // max(1, a.shape[0] * a.shape[2]))
        for first in range(0, a.shape[1], step):
            part = slice(first, first + step)
            total += (a[:, part] * b[:, part]).flatten(1).sum(1).double()
        return total


def make_units(
    shapes: Mapping[str, Sequence[int]], describe: Callable[[str, Sequence[int]], Cut] | None = None
) -> Units:
    """The units of a model.

    Args:
        shapes: parameter name → shape, in the model's order.
        describe: (name, shape) → `Cut`; by default every tensor is one unit whose component is its module's first name.

    Raises:
        QueryError: a tensor does not divide into that many blocks.
    """
    cuts, slices, size = {}, {}, 0
    for name, shape in shapes.items():
        cut = describe(name, shape) if describe else Cut(name.split(".")[0], 0, name)
        if cut.blocks > 1 and shape[cut.axis] % cut.blocks:
            raise QueryError(
                f"The parameter {name} cannot be divided into equal units.",
                expected=f"axis {cut.axis} to be a multiple of {cut.blocks}",
                got=f"shape {tuple(shape)}",
            )
        cuts[name], slices[name] = cut, slice(size, size + cut.blocks)
        size += cut.blocks
    return Units(tuple(shapes), cuts, slices, size)


def _unfold(tensor: Tensor, cut: Cut) -> Tensor:
    """[blocks, rows, columns], a view: the blocks first, whichever axis is cut."""
    if cut.blocks == 1:
        return tensor.reshape(1, len(tensor), -1) if tensor.dim() else tensor.reshape(1, 1, 1)
    if cut.axis == 0:
        return tensor.reshape(cut.blocks, tensor.shape[0] // cut.blocks, -1)
    return tensor.unflatten(1, (cut.blocks, -1)).transpose(0, 1)
