"""What experiments on images share: pixels as a model's inputs, and the check of their size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from explaind.datasets.images import Images
from explaind.errors import DataError

__all__ = ["as_inputs", "as_pixels", "checked"]


def as_inputs(images: Tensor, data: Mapping[str, Any]) -> Tensor:
    """uint8 images [N, C, H, W] as float32 (x / 255 − mean) / std, with `data["mean"]` and `data["std"]` per channel."""
    mean, std = (torch.tensor(data[name])[:, None, None] for name in ("mean", "std"))
    return (images.to(torch.float32) / 255 - mean) / std


def as_pixels(inputs: Tensor, data: Mapping[str, Any]) -> Tensor:
    """The inverse of `as_inputs`, in [0, 1], for figures."""
    mean, std = (torch.tensor(data[name])[:, None, None] for name in ("mean", "std"))
    return (inputs * std + mean).clamp(0, 1)


def checked(images: Images, shape: tuple[int, int, int]) -> Images:
    """The images, if they have the size that the model is made for.

    Raises:
        DataError: they do not.
    """
    for role, (pixels, _) in (("training", images.train), ("test", images.test)):
        if tuple(pixels.shape[1:]) != shape:
            raise DataError(
                f"The {role} images have another size than this model takes.",
                expected=" × ".join(map(str, shape)),
                got=" × ".join(map(str, pixels.shape[1:])),
                remedy="Use the data set that belongs to the experiment.",
            )
    return images
