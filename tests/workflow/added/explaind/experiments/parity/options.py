"""The whole configuration of the parity experiment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from explaind.config.fields import Count
from explaind.config.group import Group, Wrong
from explaind.config.recorded import Recorded, Samples
from explaind.config.shared import Architecture, LayerFigure
from explaind.config.studies import Quadrature, Windows

__all__ = ["Options"]


class Bits(Samples):
    """Words of bits, labelled with their parity."""

    name: Literal["bits"]
    bits: Count = Field(description="in a word")

    def wrong(self, whole: Recorded) -> Iterator[Wrong]:
        if self.train + self.test > 2**self.bits:
            yield "data.bits", f"enough for {self.train} + {self.test} words", self.bits


class OneHiddenLayer(Architecture):
    """Two linear maps."""

    name: Literal["one_hidden_layer"]
    hidden: Count = Field(description="width of the hidden layer")


class Study(Group):
    """What the experiment ends in."""

    windows: Windows
    quadrature: Quadrature


class Options(Recorded):
    """Parity of bits."""

    data: Bits
    model: OneHiddenLayer
    study: Study
    figure: LayerFigure
