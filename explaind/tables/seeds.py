"""Every seed that was trained: when it memorised, generalised and stopped; and all accuracy curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from explaind.config.declarations import Table
from explaind.store.files import read_json, write_csv

__all__ = ["COLUMNS", "CURVES", "TABLE", "write"]

TABLE = Table(
    file="seeds",
    shows="every seed that was tried",
    details="One row per trained seed.",
    caption="**Seeds.** Every seed that was trained, when it memorised and generalised, and which one is explained.",
    inputs={"summaries": "train.summary", "metrics": "train.metrics", "selection": "select"},
    requires="study.windows",
    columns={
        "seed": ("", "of the data split and the initial parameters"),
        "selected": ("", "is it the one that is explained?"),
        "reached": ("", "the stopping rule was met"),
        "memorization_step": (
            "step",
            "train accuracy first above `train.memorized_accuracy`; empty if never",
        ),
        "generalization_step": (
            "step",
            "test accuracy first above `train.generalized_accuracy`; empty if never",
        ),
        "stop_step": ("step", "the stopping rule was met; empty if never"),
        "steps": ("updates", "length of the run"),
        "train_accuracy": ("share", "at the end"),
        "test_accuracy": ("share", "at the end"),
        "threads": ("", "of the training; sums round differently with another number"),
    },
    also={"curves": "seeds_curves"},
    also_columns={
        "curves": {
            "seed": ("", "one curve each"),
            "step": ("step", "before this update"),
            "train_loss": ("nats", "of the training samples"),
            "train_accuracy": ("share", "of the training samples"),
            "test_loss": ("nats", "of the test samples"),
            "test_accuracy": ("share", "of the test samples"),
        }
    },
)

COLUMNS = tuple(TABLE.columns)
CURVES = tuple(TABLE.also_columns["curves"])


def write(
    *, summaries: Sequence[Path], metrics: Sequence[Path], selection: Path, output: Path, curves: Path
) -> None:
    """Write one row per seed, and the curves of all seeds in long form.

    Args:
        summaries, metrics: the JSON and the CSV of each seed, in the same order.
        selection: JSON that names the chosen seed.
        output: CSV with `COLUMNS`; a step that was not reached is empty.
        curves: CSV with `CURVES`.
    """
    runs = [read_json(path) for path in summaries]
    table = pd.DataFrame(runs)
    table["selected"] = table["seed"] == read_json(selection)["seed"]
    for column in ("memorization_step", "generalization_step", "stop_step"):
        table[column] = table[column].astype("Int64")
    write_csv(table[list(COLUMNS)], output)
    long = [pd.read_csv(path).assign(seed=run["seed"]) for path, run in zip(metrics, runs, strict=True)]
    write_csv(pd.concat(long)[list(CURVES)], curves)
