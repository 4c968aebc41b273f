"""MNIST digits with a small convolutional network, one epoch of AdamW (the paper's appendix E.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from explaind.datasets.images import draw, read
from explaind.experiments import Experiment, parameters_by_layer, seeded
from explaind.experiments.images import as_inputs, checked
from explaind.experiments.mnist.model import DigitNet, negative_log_likelihood

__all__ = ["build"]


def build(config: Mapping[str, Any], seed: int) -> Experiment:
    """Samples and initial parameters from one seed (see `explaind.experiments.load`).

    `data.train` images are drawn from the 60,000 training images, and the `data.heldout` after them in the same permutation; the
    first `data.test` of the official test images are the test set, in their own order.
    """
    data, shape = config["data"], config["model"]
    images = checked(read(config), (1, 28, 28))
    count = data["train"] + data["heldout"]
    chosen = draw(*images.train, count, seed, "train + heldout")
    draw(*images.test, data["test"], seed, "test")
    inputs, labels = as_inputs(images.train[0][chosen], data), images.train[1][chosen]
    make_model = seeded(lambda: DigitNet(channels=shape["channels"], hidden=shape["hidden"]))
    model = make_model(seed)
    first, held = slice(0, data["train"]), slice(data["train"], count)
    return Experiment(
        name=config["name"],
        seed=seed,
        make_model=make_model,
        model=model,
        loss=negative_log_likelihood,
        train=(inputs[first], labels[first]),
        test=(as_inputs(images.test[0][: data["test"]], data), images.test[1][: data["test"]]),
        groups=parameters_by_layer(model),
        train_key=labels[first],
        test_key=images.test[1][: data["test"]],
        classes=10,
        heldout=(inputs[held], labels[held]) if data["heldout"] else None,
        names=tuple("0123456789"),
    )
