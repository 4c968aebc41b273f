"""Data and model of CIFAR-2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from explaind.datasets.cifar10 import CLASSES
from explaind.experiments.cifar2.model import ResNet9
from explaind.experiments.experiment import Experiment
from explaind.experiments.images import build_classifier

__all__ = ["build"]


def build(config: Mapping[str, Any], seed: int) -> Experiment:
    """Samples and initial parameters from one seed (see `explaind.experiments.images.build_classifier`)."""
    width = config["model"]["width"]
    return build_classifier(
        config, seed, lambda classes: ResNet9(width=width, classes=classes), shape=(3, 32, 32), names=CLASSES
    )
