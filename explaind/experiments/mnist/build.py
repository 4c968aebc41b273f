"""Data and model of MNIST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from explaind.experiments.experiment import Experiment
from explaind.experiments.images import build_classifier
from explaind.experiments.mnist.model import DigitNet

__all__ = ["build"]


def build(config: Mapping[str, Any], seed: int) -> Experiment:
    """Samples and initial parameters from one seed (see `explaind.experiments.images.build_classifier`)."""
    shape = config["model"]
    return build_classifier(
        config,
        seed,
        lambda classes: DigitNet(channels=shape["channels"], hidden=shape["hidden"]),
        shape=(1, 28, 28),
        names="0123456789",
    )
