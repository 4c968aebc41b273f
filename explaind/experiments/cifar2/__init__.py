"""Cats and dogs of CIFAR-10 with a ResNet-9, SGD with momentum and a triangular learning rate (the paper's appendix E.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from explaind.batches import mirrored
from explaind.datasets.cifar10 import CLASSES
from explaind.datasets.images import draw, read
from explaind.experiments import Experiment, parameters_by_layer, seeded
from explaind.experiments.cifar2.model import ResNet9
from explaind.experiments.images import as_inputs, checked
from explaind.experiments.mnist.model import negative_log_likelihood

__all__ = ["build"]


def build(config: Mapping[str, Any], seed: int) -> Experiment:
    """Samples and initial parameters from one seed (see `explaind.experiments.load`).

    `data.train` images are drawn from those of the chosen classes; the first `data.test` official test images of these classes
    are the test set. Labels are positions in the rising list of classes.
    """
    data, shape = config["data"], config["model"]
    images = checked(read(config), (3, 32, 32))
    chosen = draw(*images.train, data["train"], seed, "train")
    draw(*images.test, data["test"], seed, "test")
    classes = torch.tensor(images.classes)
    labels, answers = (torch.searchsorted(classes, part[1]) for part in (images.train, images.test))
    make_model = seeded(lambda: ResNet9(width=shape["width"], classes=len(classes)))
    model = make_model(seed)
    flips = config["train"]["flip"] == "horizontal"
    return Experiment(
        name=config["name"],
        seed=seed,
        make_model=make_model,
        model=model,
        loss=negative_log_likelihood,
        train=(as_inputs(images.train[0][chosen], data), labels[chosen]),
        test=(as_inputs(images.test[0][: data["test"]], data), answers[: data["test"]]),
        groups=parameters_by_layer(model),
        train_key=labels[chosen],
        test_key=answers[: data["test"]],
        classes=len(classes),
        view=mirrored if flips else None,
        names=tuple(CLASSES[label] for label in images.classes),
    )
