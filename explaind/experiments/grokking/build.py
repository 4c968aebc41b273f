"""Data and model of modular arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from explaind.experiments.experiment import Experiment, seeded
from explaind.experiments.grokking.data import cycle, split_pairs
from explaind.experiments.grokking.model import ModuloTransformer, head_groups, layer_groups
from explaind.experiments.likelihood import negative_log_likelihood

__all__ = ["build"]


def build(config: Mapping[str, Any], seed: int) -> Experiment:
    """Data split and initial parameters from one seed (see `explaind.experiments.build.load`).

    The split draws from a generator of its own and the parameters from the global one, both started with `seed`, so
    neither depends on how many numbers the other drew.
    """
    data, shape = config["data"], config["model"]
    train, test = split_pairs(data["modulus"], data["train"], data["test"], seed, data["operation"])
    make_model = seeded(
        lambda: ModuloTransformer(
            tokens=data["modulus"] + 2, width=shape["d_model"], heads=shape["heads"], hidden=shape["hidden"]
        )
    )
    model = make_model(seed)
    return Experiment(
        name="grokking",
        seed=seed,
        make_model=make_model,
        model=model,
        loss=negative_log_likelihood,
        train=(train.tokens, train.labels),
        test=(test.tokens, test.labels),
        groups=layer_groups(model),
        heads=head_groups(model),
        train_key=train.sums,
        test_key=test.sums,
        classes=data["modulus"] + 2,
        cycle=cycle(data["modulus"], data["operation"]),
    )
