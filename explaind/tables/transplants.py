"""Every network that started with layers of the explained run: when it generalised; and all accuracy curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from explaind.config.declarations import Table
from explaind.store.files import write_csv
from explaind.studies.generalization import outcomes

__all__ = ["TABLE", "write"]

TABLE = Table(
    file="transplants",
    shows="networks that start with layers of the run",
    details="One row per combination of layers, checkpoint and seed. A network starts with these layers of that checkpoint; all "
    "other parameters are drawn anew, and it is trained as the run was. Seeds of one training end together: after "
    "`study.transplant.updates`, or once all of them have generalised for `study.transplant.settle` updates.",
    caption="**Transplants.** Networks that start with layers of the explained run: when they memorise and generalise.",
    inputs={"transplants": "transplant"},
    options=("train.memorized_accuracy", "train.generalized_accuracy"),
    requires="study.transplant",
    columns={
        "combination": ("", "of `study.transplant.layers`: the layers that come from the run"),
        "checkpoint": ("", "of the run, by name"),
        "checkpoint_step": ("step", "of the checkpoint: so many updates of the run come before it"),
        "seed": ("", "of the newly drawn parameters"),
        "memorized_at": (
            "updates",
            "first evaluation with a train accuracy above `train.memorized_accuracy`; empty if never",
        ),
        "generalized_at": (
            "updates",
            "first evaluation with a test accuracy above `train.generalized_accuracy`; empty if never",
        ),
        "updates": ("updates", "of this training"),
        "train_accuracy": ("share", "at its end"),
        "test_accuracy": ("share", "at its end"),
        "largest_gap": (
            "share",
            "largest train accuracy − test accuracy of any evaluation: memorisation shows in it",
        ),
    },
    also={"curves": "transplants_curves"},
    also_columns={
        "curves": {
            "combination": ("", "as above"),
            "checkpoint": ("", "as above"),
            "checkpoint_step": ("step", "as above"),
            "seed": ("", "as above"),
            "update": ("updates", "of this training before the evaluation"),
            "train_loss": ("nats", "of the training samples"),
            "train_accuracy": ("share", "of the training samples"),
            "test_loss": ("nats", "of the test samples"),
            "test_accuracy": ("share", "of the test samples"),
        }
    },
)


def write(config: Mapping[str, Any], *, transplants: Sequence[Path], output: Path, curves: Path) -> None:
    """Put all trainings together.

    Args:
        config: `train.{memorized_accuracy,generalized_accuracy}`.
        transplants: CSV of each training.
        output: CSV with the columns of `TABLE`.
        curves: CSV with those of its curves.
    """
    training = config["train"]
    table = pd.concat([pd.read_csv(path) for path in transplants], ignore_index=True)
    rows = outcomes(table, training["memorized_accuracy"], training["generalized_accuracy"])
    write_csv(rows[list(TABLE.columns)], output)
    write_csv(table[list(TABLE.also_columns["curves"])], curves)
