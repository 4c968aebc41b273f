"""The whole configuration of the grokking experiment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from explaind.config.fields import Count, Several
from explaind.config.group import Group, Wrong
from explaind.config.recorded import Recorded, Samples
from explaind.config.shared import Architecture, LayerFigure
from explaind.config.studies import Frequencies, Kernel, Outputs, Periodicity, Quadrature, Windows

__all__ = ["Options"]


class ModularAddition(Samples):
    """Pairs a ≥ b with the label (a + b) mod modulus."""

    name: Literal["modular_addition"]
    modulus: Several = Field(description="p: the numbers are 0…p − 1")

    def wrong(self, whole: Recorded) -> Iterator[Wrong]:
        pairs = self.modulus * (self.modulus + 1) // 2
        if self.train + self.test > pairs:
            got = f"{self.train} and {self.test}"
            yield "data.train and data.test", f"at most {pairs} disjoint samples for this modulus", got


class ModularTransformer(Architecture):
    """One attention block and one MLP."""

    name: Literal["modular_transformer"]
    d_model: Count = Field(description="width of the embedding")
    heads: Count = Field(description="attention heads, which share the width")
    hidden: Count = Field(description="width of the MLP")

    def wrong(self, whole: Recorded) -> Iterator[Wrong]:
        if self.d_model % self.heads:
            yield "model.d_model", f"a multiple of model.heads, {self.heads}", self.d_model


class Study(Group):
    """What the experiment ends in."""

    windows: Windows
    kernel: Kernel
    quadrature: Quadrature
    periodicity: Periodicity
    outputs: Outputs
    frequencies: Frequencies


class Options(Recorded):
    """Modulo addition on a small Transformer."""

    data: ModularAddition
    model: ModularTransformer
    study: Study
    figure: LayerFigure
