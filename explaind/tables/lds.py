"""The linear datamodel scores of every experiment and method, in one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from explaind.config.declarations import Table
from explaind.store.files import write_csv

__all__ = ["COLUMNS", "TABLE", "write"]

TABLE = Table(
    file="lds",
    shows="data attribution against retrained models",
    details="One row per experiment, method and fraction of the training set.",
    caption="**Linear datamodel scores.** Every method, experiment and fraction, with intervals.",
    inputs={"scores": "datamodel"},
    requires="study.datamodel",
    across=True,
    columns={
        "experiment": ("", "its folder"),
        "method": ("", "`explaind`, or a method of dattri on the same run"),
        "fraction": ("share", "of the training set in a subset, or `leave-one-out`"),
        "lds": (
            "−1…1",
            "Spearman correlation over subsets between Σ of scores and the true class's log-probability of retrained models "
            "(mean over their seeds), averaged over tests",
        ),
        "low": ("−1…1", "95% bootstrap interval over subsets and tests: its lower end"),
        "high": ("−1…1", "its upper end"),
        "lds_own_seed": (
            "−1…1",
            "`lds` for models with the explained run's own seed; empty if there are none",
        ),
        "low_own_seed": ("−1…1", "lower end of its interval"),
        "high_own_seed": ("−1…1", "upper end of its interval"),
        "tests": ("", "explained tests"),
        "subsets": ("", "of the fraction"),
        "seeds": ("", "retrainings per subset with other seeds than the explained run's"),
        "updates": ("updates", "of one retraining"),
    },
)

COLUMNS = tuple(TABLE.columns)


def write(*, scores: Sequence[Path], output: Path) -> None:
    """Put the experiments' rows together.

    Args:
        scores: CSV of each experiment's study `datamodel`.
        output: CSV with `COLUMNS`.
    """
    parts = [pd.read_csv(path, dtype={"fraction": str}) for path in scores]
    write_csv(pd.concat(parts)[list(COLUMNS)], output)
