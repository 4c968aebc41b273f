"""Options of image data."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from explaind.config.fields import Accuracy, Distinct, Items, Natural, Positive
from explaind.config.group import Group
from explaind.config.recorded import Samples

__all__ = ["Images"]


class ImageSource(Group):
    """Where images come from."""

    dataset: Literal["mnist", "cifar10"] = Field(description="the published data set")
    classes: Distinct[Natural] | None = Field(description="labels that are kept; null: all")


class Images(Samples):
    """Images of a data set: drawn from its training images, and the first of its test images."""

    mirrored: ClassVar[bool] = True

    source: ImageSource
    heldout: Natural = Field(description="training images beyond data.train, whose loss ranks updates")
    mean: Items[Accuracy] = Field(description="of each channel's pixels in 0…1, subtracted")
    std: Items[Positive] = Field(description="of each channel's pixels in 0…1, divided by")
