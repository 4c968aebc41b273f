"""Every seed that was trained: when it memorised, generalised and stopped; and all accuracy curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from explaind.store.files import read_json, write_csv

__all__ = ["COLUMNS", "CURVES", "write"]

COLUMNS = (
    "seed",
    "selected",
    "reached",
    "memorization_step",
    "generalization_step",
    "stop_step",
    "steps",
    "train_accuracy",
    "test_accuracy",
    "seconds",
    "seconds_per_step",
    "threads",
)
CURVES = ("seed", "step", "train_loss", "train_accuracy", "test_loss", "test_accuracy")


def write(
    summaries: Sequence[Path], metrics: Sequence[Path], selection: Path, *, output: Path, curves: Path
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
