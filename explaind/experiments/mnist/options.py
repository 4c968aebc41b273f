"""The whole configuration of the MNIST experiment."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Len
from pydantic import Field

from explaind.config.fields import Accuracy, Count, Pair, Positive
from explaind.config.group import Group
from explaind.config.recorded import Recorded
from explaind.config.shared import Architecture
from explaind.config.studies import Attribution, Datamodel, Examples, Proportionality, Pruning, Quadrature
from explaind.datasets.options import Images

__all__ = ["Digits", "Network", "Options"]


class Digits(Images):
    """Grey images of digits."""

    name: Literal["mnist"]
    mean: Annotated[list[Accuracy], Len(1, 1)]
    std: Annotated[list[Positive], Len(1, 1)]


class Network(Architecture):
    """Two convolutions and two linear maps."""

    layer_names: ClassVar[tuple[str, ...]] = ("conv1", "conv2", "linear1", "linear2")
    module_names: ClassVar[tuple[str, ...]] = layer_names

    name: Literal["mnist_cnn"]
    channels: Pair[Count] = Field(description="channels of the two convolutions")
    hidden: Count = Field(description="width of the first linear map")


class Study(Group):
    """What the experiment ends in."""

    quadrature: Quadrature
    attribution: Attribution
    datamodel: Datamodel
    examples: Examples
    pruning: Pruning
    proportionality: Proportionality


class Options(Recorded):
    """A small convolutional network on MNIST digits."""

    data: Digits
    model: Network
    study: Study
