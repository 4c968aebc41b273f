"""The whole configuration of the CIFAR-2 experiment."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Len
from pydantic import Field

from explaind.config.fields import Accuracy, Count, Positive
from explaind.config.group import Group
from explaind.config.recorded import Recorded
from explaind.config.shared import Architecture
from explaind.config.studies import Attribution, Datamodel, Examples, Pruning, Quadrature
from explaind.datasets.options import Images

__all__ = ["Options"]


class CatsAndDogs(Images):
    """Colour images of two classes."""

    name: Literal["cifar2"]
    mean: Annotated[list[Accuracy], Len(3, 3)]
    std: Annotated[list[Positive], Len(3, 3)]


class ResNet9(Architecture):
    """A ResNet-9 without normalisation."""

    layer_names: ClassVar[tuple[str, ...]] = (
        "conv1",
        "conv2",
        "residual1",
        "conv3",
        "residual2",
        "conv4",
        "linear",
    )

    name: Literal["resnet9"]
    width: Count = Field(description="channels of the first convolution")


class Study(Group):
    """What the experiment ends in."""

    quadrature: Quadrature
    attribution: Attribution
    datamodel: Datamodel
    examples: Examples
    pruning: Pruning | None


class Options(Recorded):
    """A ResNet-9 on cats and dogs."""

    data: CatsAndDogs
    model: ResNet9
    study: Study
