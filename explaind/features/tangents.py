"""Forward mode: Φ·(a term of the update, restricted to a group), for all samples and outputs at one node of the path.

For group G and term τ the tangent is τ inside G and zero outside; only G's own parameters are dual numbers, so nothing is
propagated below the layer. Shapes: K terms, D parameters, n samples, O outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import jvp, vmap

from explaind.features.batched import Batched
from explaind.features.functional import Value
from explaind.features.groups import Partition


class GroupTangents:
    """Jacobian-vector products ∂value/∂θ_G · τ_G for every group G of a partition and every term τ of an update.

    Args:
        value: the pure function that is decomposed.
        partition: named groups.
    """

    def __init__(self, value: Value, partition: Partition) -> None:
        self._value = value
        self._layout = partition.layout
        self._evaluate = Batched(self._products, axis=1)
        slices = self._layout.slices()
        shapes = dict(zip(self._layout.names, self._layout.shapes, strict=True))
        self._members: list[
            dict[str, Tensor | None]
        ] = []  # per group: parameter → mask, or None for all of it
        for group in range(len(partition)):
            members: dict[str, Tensor | None] = {}
            for name in partition.tensors(group):
                inside = partition.label[slices[name]] == group
                members[name] = None if bool(inside.all()) else inside.reshape(shapes[name])
            self._members.append(members)

    def __call__(
        self, theta: Tensor, terms: Tensor, x: Tensor, y: Tensor | None, *more: Tensor
    ) -> list[Tensor]:
        """θ [D], terms [K, D], samples x [n, …], y [n, …] → per group [K, n, O], which may be written to.

        `more` are further arguments of the function, [n, …] each.
        """
        fixed = [*self._layout.unflatten(theta).values(), *self._layout.unflatten(terms).values()]
        products = self._evaluate(fixed, [x] if y is None else [x, y, *more])
        return [_owned(part, terms) for part in products]

    def _products(self, *arguments: Tensor) -> list[Tensor]:
        names, number = self._layout.names, len(self._layout.names)
        theta = dict(zip(names, arguments[:number], strict=True))
        terms = dict(zip(names, arguments[number : 2 * number], strict=True))
        x, *labels = arguments[2 * number :]
        rest = labels or [None]
        products = []
        for members in self._members:
            inside = {name: theta[name] for name in members}
            tangents = {
                n: terms[n] if mask is None else terms[n] * mask.to(terms[n].device)
                for n, mask in members.items()
            }

            def value(parameters: dict[str, Tensor]) -> Tensor:
                return self._value({**theta, **parameters}, x, *rest)

            def along(tangent: dict[str, Tensor], inside: dict[str, Tensor] = inside) -> Tensor:
                return jvp(value, (inside,), (tangent,))[1]

            products.append(vmap(along)(tangents))
        return products


def _owned(part: Tensor, terms: Tensor) -> Tensor:
    """A copy where entries share memory: a product that does not depend on the sample (or on θ_G at all) comes back
    expanded, or as a view of the term itself."""
    repeats = any(stride == 0 and size > 1 for stride, size in zip(part.stride(), part.shape, strict=True))
    borrowed = part.untyped_storage().data_ptr() == terms.untyped_storage().data_ptr()
    return part.clone(memory_format=torch.contiguous_format) if repeats or borrowed else part
