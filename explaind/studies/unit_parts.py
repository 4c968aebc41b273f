"""Groups of a model's units on which interventions act: components of a layer, layers, attention heads, parameter tensors.

A group is a set of units (`explaind.features.units`): its score is the sum of theirs. Groups of one kind do not overlap, and need
not cover the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from explaind.checkpoints import Checkpoint
from explaind.config.studies import UNIT_KINDS
from explaind.errors import ConfigError
from explaind.features.units import Cut, Units
from explaind.studies.parts import LEAST, enough

__all__ = ["Piece", "UnitGroup", "choose_parts", "is_decayed", "unit_parts"]


@dataclass(frozen=True)
class Piece:
    """One unit: a block of a parameter tensor.

    Attributes:
        name: of the tensor.
        axis, start, length: entries start … start + length − 1 along the axis; an axis of −1 is the whole tensor.
    """

    name: str
    axis: int
    start: int
    length: int

    def of(self, tensor: Tensor) -> Tensor:
        """The block of a tensor of this shape, a view."""
        return tensor if self.axis < 0 else tensor.narrow(self.axis, self.start, self.length)


@dataclass(frozen=True)
class UnitGroup:
    """Units by position among all of the model's, int64, and where their parameters are."""

    units: Tensor
    pieces: tuple[Piece, ...]


def unit_parts(kind: str, units: Units, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, UnitGroup]:
    """All groups of one kind, by name, in the order of the model's parameters.

    Args:
        kind: "component", all of one kind of component at one depth; "layer", all of one depth; "head", the blocks of one number
            in those tensors of a layer that are cut into equally many (of grouped queries: query heads with their outputs, and
            key-value heads); "tensor", one parameter tensor.
        units: of the model.
        shapes: of its parameters.

    Raises:
        ConfigError: an unknown kind; heads of a model that has none.
    """
    if kind not in UNIT_KINDS:
        raise ConfigError(
            f"There are no groups of units called {kind!r}.",
            expected=", ".join(UNIT_KINDS),
            got=repr(kind),
            remedy="Correct study.proportionality.kinds.",
        )
    last = max(cut.depth for cut in units.cuts.values())
    members: dict[str, list[tuple[int, Piece]]] = {}
    for name in units.names:
        cut = units.cuts[name]
        for block, position in enumerate(range(units.slices[name].start, units.slices[name].stop)):
            if (label := _label(kind, name, cut, block, last)) is not None:
                members.setdefault(label, []).append((position, _piece(name, cut, block, shapes[name])))
    if not members:
        raise ConfigError(
            "No tensor of the model is divided into attention heads.",
            expected="a model with several heads",
            got="tensors that are one unit each",
            remedy="Leave 'head' out of study.proportionality.kinds.",
        )
    return {
        label: UnitGroup(torch.tensor([p for p, _ in some]), tuple(piece for _, piece in some))
        for label, some in members.items()
    }


def choose_parts(
    checkpoint: Checkpoint, units: Units, options: Mapping[str, Any], windows: int
) -> dict[str, dict[str, UnitGroup]]:
    """Kind → its groups in one window: all of them, or as many as are drawn, of which the first `LEAST` are decayed.

    Args:
        checkpoint: at the window's start; its step makes draws of windows independent.
        units: of its model.
        options: `study.proportionality.{kinds,groups,seed}`.
        windows: of this intervention, over which correlations are made.

    Raises:
        ConfigError: as of `unit_parts`; fewer groups of a kind, over all windows, than an interval needs, or fewer that are
            decayed at all.
    """
    shapes = {name: tuple(checkpoint.shape(name)) for name in units.names}
    step = checkpoint.hyperparameters.step or 0
    chosen = {}
    for kind in options["kinds"]:
        groups = list(unit_parts(kind, units, shapes).items())
        generator = torch.Generator().manual_seed(options["seed"] * 1_000_003 + step)
        order = [groups[i] for i in torch.randperm(len(groups), generator=generator).tolist()]
        first = [name for name, group in order if is_decayed(checkpoint, group)][:LEAST]
        order.sort(key=lambda pair: pair[0] not in first)
        chosen[kind] = dict(order[: options["groups"]])
        # If every window has its share of them, all windows together have enough.
        enough(kind, len(chosen[kind]), windows)
        decayed = sum(is_decayed(checkpoint, group) for group in chosen[kind].values())
        if decayed:
            enough(f"{kind}, without its regularization", decayed, windows)
    return chosen


def is_decayed(checkpoint: Checkpoint, group: UnitGroup) -> bool:
    """Does weight decay move any of the group's parameters?"""
    return any(checkpoint.hyperparameters.decay(piece.name) > 0 for piece in group.pieces)


def _label(kind: str, name: str, cut: Cut, block: int, last: int) -> str | None:
    """The name of the unit's group, None if it is in none."""
    place = {0: "input", last: "output"}.get(cut.depth, f"layer {cut.depth}")
    if kind == "component":
        return f"{cut.component}, {place}"
    if kind == "layer":
        return place
    if kind == "head":
        return f"{place}, head {block} of {cut.blocks}" if cut.blocks > 1 else None
    return name


def _piece(name: str, cut: Cut, block: int, shape: tuple[int, ...]) -> Piece:
    if cut.blocks == 1:
        return Piece(name, -1, 0, 0)
    length = shape[cut.axis] // cut.blocks
    return Piece(name, cut.axis, block * length, length)
