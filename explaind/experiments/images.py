"""What experiments on images share: samples drawn from a data set, pixels as a model's inputs, mirror images as views."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from explaind.datasets.images import Images, draw, read
from explaind.errors import DataError
from explaind.experiments.experiment import Experiment, parameters_by_layer, seeded
from explaind.experiments.likelihood import negative_log_likelihood

__all__ = ["as_inputs", "as_pixels", "build_classifier", "checked", "mirrored"]


def build_classifier(
    config: Mapping[str, Any],
    seed: int,
    make: Callable[[int], nn.Module],
    *,
    shape: tuple[int, int, int],
    names: Sequence[str],
) -> Experiment:
    """An experiment that classifies the images of a data set; samples and initial parameters from one seed.

    `data.train` images are drawn from the training images, and the `data.heldout` after them in the same permutation; the first
    `data.test` official test images are the test set, in their own order. Labels are positions in the rising list of classes.

    Args:
        config: resolved configuration.
        seed: of the run.
        make: (number of classes) → the model, freshly initialised.
        shape: channels, rows and columns of an image.
        names: of all labels of the data set, for figures.
    """
    data = config["data"]
    images = checked(read(config), shape)
    count = data["train"] + data["heldout"]
    chosen = draw(*images.train, count, seed, "train + heldout" if data["heldout"] else "train")
    draw(*images.test, data["test"], seed, "test")
    classes = torch.tensor(images.classes)
    labels, answers = (torch.searchsorted(classes, part[1]) for part in (images.train, images.test))
    inputs, labels = as_inputs(images.train[0][chosen], data), labels[chosen]
    first, held, tests = slice(0, data["train"]), slice(data["train"], count), slice(0, data["test"])
    make_model = seeded(lambda: make(len(classes)))
    model = make_model(seed)
    return Experiment(
        name=config["name"],
        seed=seed,
        make_model=make_model,
        model=model,
        loss=negative_log_likelihood,
        train=(inputs[first], labels[first]),
        test=(as_inputs(images.test[0][tests], data), answers[tests]),
        groups=parameters_by_layer(model),
        train_key=labels[first],
        test_key=answers[tests],
        classes=len(classes),
        heldout=(inputs[held], labels[held]) if data["heldout"] else None,
        view=mirrored if config["train"]["flip"] == "horizontal" else None,
        names=tuple(names[label] for label in images.classes),
    )


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


def mirrored(images: Tensor, flipped: Tensor) -> Tensor:
    """Images [n, C, H, W], mirrored left to right where `flipped` [n] is not zero."""
    return torch.where((flipped.to(images.device) != 0)[:, None, None, None], images.flip(-1), images)
