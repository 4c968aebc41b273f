"""The whole configuration of the grokking experiment."""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt
from typing import ClassVar, Literal

from pydantic import Field

from explaind.config.fields import Count, Several
from explaind.config.group import Group, Wrong
from explaind.config.recorded import Recorded, Samples
from explaind.config.shared import Architecture, LayerFigure
from explaind.config.studies import (
    Frequencies,
    Kernel,
    Outputs,
    Periodicity,
    Proportionality,
    Quadrature,
    Runs,
    Swap,
    Transplant,
    Windows,
)
from explaind.experiments.grokking.layers import LAYERS

__all__ = ["Options"]


class ModularArithmetic(Samples):
    """Pairs a ≥ b with the label (a ∘ b) mod modulus."""

    name: Literal["modular_arithmetic"]
    operation: Literal["addition", "multiplication"] = Field(
        description="∘, which does not depend on the order of a and b, as the model does not; multiplication is of 1…p − 1"
    )
    modulus: Several = Field(description="p: the numbers are 0…p − 1")

    def wrong(self, whole: Recorded) -> Iterator[Wrong]:
        numbers = self.modulus - (self.operation == "multiplication")
        pairs = numbers * (numbers + 1) // 2
        if self.operation == "multiplication" and not _is_prime(self.modulus):
            yield "data.modulus", "a prime number, so that products of 1…p − 1 are a cycle", self.modulus
        if self.train + self.test > pairs:
            got = f"{self.train} and {self.test}"
            yield "data.train and data.test", f"at most {pairs} disjoint samples for this modulus", got


class ModularTransformer(Architecture):
    """One attention block and one MLP."""

    layer_names: ClassVar[tuple[str, ...]] = LAYERS
    module_names: ClassVar[tuple[str, ...]] = ("embedding", "linear1", "linear2", "decoder")

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
    runs: Runs
    transplant: Transplant
    swap: Swap
    proportionality: Proportionality


class Options(Recorded):
    """Modulo addition on a small Transformer."""

    data: ModularArithmetic
    model: ModularTransformer
    study: Study
    figure: LayerFigure


def _is_prime(number: int) -> bool:
    return all(number % divisor for divisor in range(2, isqrt(number) + 1))
