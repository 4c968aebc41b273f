"""Parameter groups: a partition of the flat parameter vector into named parts, from layers down to single parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from explaind.errors import QueryError
from explaind.recording.layout import Layout

Groups = str | Mapping[str, Sequence[str] | Mapping[str, Tensor]] | None


@dataclass(frozen=True)
class Partition:
    """Groups that cover every recorded parameter exactly once.

    Attributes:
        names: of the groups; empty for the partition into single parameters.
        label: group index of each of the D parameters, int64 [D]; None for single parameters.
        layout: of the flat vector.
    """

    names: tuple[str, ...]
    label: Tensor | None
    layout: Layout

    @property
    def single(self) -> bool:
        """Is every parameter a group of its own?"""
        return self.label is None

    def __len__(self) -> int:
        return self.layout.size if self.label is None else len(self.names)

    def tensors(self, group: int) -> tuple[str, ...]:
        """Names of the parameter tensors that have an entry in this group."""
        slices = self.layout.slices()
        return tuple(n for n in self.layout.names if bool((self.label[slices[n]] == group).any()))

    def index(self, group: int) -> slice | Tensor:
        """Positions of the group in the flat vector: a slice where they are contiguous, else indices."""
        if self.label is None:
            return slice(group, group + 1)
        where = torch.nonzero(self.label == group).squeeze(1)
        first, last = int(where[0]), int(where[-1])
        return slice(first, last + 1) if last - first + 1 == len(where) else where


def make_partition(layout: Layout, groups: Groups) -> Partition:
    """The partition that `groups` describes.

    Args:
        layout: of the recorded parameters.
        groups: None for layers (parameters of one module together); "parameter" for single parameters; "all" for one
            group; or a mapping name → parameter names, which may be shell patterns ("blocks.0.*"), or name →
            {parameter name: boolean mask of its shape} for parts of a tensor such as heads or neurons.

    Raises:
        QueryError: an unknown parameter, an empty group, a parameter in two groups or in none.
    """
    if groups == "parameter":
        return Partition((), None, layout)
    if groups == "all":
        groups = {"all": list(layout.names)}
    elif groups is None:
        groups = _layers(layout)
    elif not isinstance(groups, Mapping):
        raise QueryError(
            "The parameter groups are not understood.",
            expected="None (layers), 'parameter', 'all', or a mapping from names to parameter names",
            got=repr(groups),
        )
    slices = layout.slices()
    label = torch.full((layout.size,), -1, dtype=torch.int64)
    for number, (group, members) in enumerate(groups.items()):
        masks = _masks(layout, group, members)
        for name, mask in masks.items():
            part = label[slices[name]]
            if bool((part[mask] >= 0).any()):
                other = list(groups)[int(part[mask].max())]
                raise QueryError(
                    f"The parameter {name!r} is in the group {group!r} and in {other!r}.",
                    expected="every parameter in exactly one group, so that influences add up",
                )
            part[mask] = number
    if bool((label < 0).any()):
        missing = [n for n in layout.names if bool((label[slices[n]] < 0).any())]
        raise QueryError(
            "The groups do not cover every recorded parameter.",
            expected="every parameter in exactly one group, so that influences add up",
            got="no group for " + ", ".join(missing[:5]) + (" …" if len(missing) > 5 else ""),
            remedy="Add a group for the rest.",
        )
    return Partition(tuple(groups), label, layout)


def _masks(layout: Layout, group: str, members: Sequence[str] | Mapping[str, Tensor]) -> dict[str, Tensor]:
    shapes = dict(zip(layout.names, layout.shapes, strict=True))
    masks: dict[str, Tensor] = {}
    for pattern in [members] if isinstance(members, str) else members:
        matching = [n for n in layout.names if n == pattern or fnmatchcase(n, pattern)]
        if not matching:
            raise QueryError(
                f"The group {group!r} names a parameter that was not recorded.",
                expected=", ".join(layout.names[:6]) + (" …" if len(layout.names) > 6 else ""),
                got=repr(pattern),
            )
        for name in matching:
            if isinstance(members, Mapping):
                mask = torch.as_tensor(members[pattern])
                if mask.dtype != torch.bool or tuple(mask.shape) != tuple(shapes[name]):
                    raise QueryError(
                        f"The mask of {name!r} in the group {group!r} does not fit.",
                        expected=f"a boolean tensor of shape {tuple(shapes[name])}",
                        got=f"{mask.dtype} of shape {tuple(mask.shape)}",
                    )
                masks[name] = mask.flatten()
            else:
                masks[name] = torch.ones(int(torch.tensor(shapes[name]).prod()), dtype=torch.bool)
    if not any(bool(mask.any()) for mask in masks.values()):
        raise QueryError(f"The group {group!r} is empty.", expected="at least one parameter")
    return masks


def _layers(layout: Layout) -> dict[str, list[str]]:
    layers: dict[str, list[str]] = {}
    for name in layout.names:
        layers.setdefault(name.rpartition(".")[0] or name, []).append(name)
    return layers
