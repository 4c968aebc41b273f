"""Words, network and loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from explaind.experiments.experiment import Experiment, parameters_by_layer, seeded
from explaind.experiments.likelihood import negative_log_likelihood

__all__ = ["build"]


def build(config: Mapping[str, Any], seed: int) -> Experiment:
    """Distinct words, shuffled with the seed."""
    data, width = config["data"], config["model"]["hidden"]
    order = torch.randperm(2 ** data["bits"], generator=torch.Generator().manual_seed(seed))
    words = (order[:, None] >> torch.arange(data["bits"])) & 1
    inputs, labels = 2.0 * words - 1.0, words.sum(1) % 2
    train, test = slice(0, data["train"]), slice(data["train"], data["train"] + data["test"])
    make_model = seeded(
        lambda: nn.Sequential(
            nn.Linear(data["bits"], width), nn.Tanh(), nn.Linear(width, 2), nn.LogSoftmax(dim=-1)
        )
    )
    model = make_model(seed)
    return Experiment(
        name="parity",
        seed=seed,
        make_model=make_model,
        model=model,
        loss=negative_log_likelihood,
        train=(inputs[train], labels[train]),
        test=(inputs[test], labels[test]),
        groups=parameters_by_layer(model),
        train_key=labels[train],
        test_key=labels[test],
        classes=2,
    )
