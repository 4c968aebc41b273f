"""Train one seed, without recording it.

The recorded run must repeat the unrecorded one bit for bit. Therefore one fixed number of threads and deterministic kernels are
used in both, and the digest of θ_T is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from explaind.config.declarations import Stage
from explaind.experiments.build import load, make_optimizer
from explaind.runtime.device import find_device
from explaind.store.files import write_csv, write_json
from explaind.training.loop import METRICS
from explaind.training.phases import summarise
from explaind.training.reproducible import reproducible
from explaind.training.unrecorded import train_unrecorded

__all__ = ["write"]

STAGE = Stage(
    options=("name", "data", "model", "optimizer", "train"),
    without=("train.seeds", "train.seed"),
    requires="verify",
    each="seeds",
    threads="train.threads",
    memory=1500,
    runtime=60,
    gpu=True,
    priority=9,
)


def write(config: Mapping[str, Any], *, seed: int, metrics: Path, summary: Path) -> None:
    """Train the experiment from one seed, without recording.

    Args:
        config: resolved configuration (`name`, `data`, `model`, `optimizer`, `train`).
        seed: fixes the data split and the initial parameters.
        metrics: CSV to write, columns `METRICS`, one row per θ_s.
        summary: JSON to write, see `explaind.training.phases.summarise`.

    Raises:
        TrainingError: the loss became NaN or infinite.
    """
    with reproducible(config["train"]["threads"]):
        experiment = load(config, seed=seed).to(find_device())
        optimizer = make_optimizer(config, experiment.model)
        table = pd.DataFrame(train_unrecorded(experiment, optimizer, config["train"]), columns=METRICS)
    write_csv(table, metrics)
    write_json(summarise(table, experiment, config["train"]), summary)
