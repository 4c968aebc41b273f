"""When networks with transplanted layers memorised and generalised, seed by seed and over the seeds.

Notation: S seeds; accuracies at the updates u that were evaluated. Memorised and generalised are the platform's own rules:
train (test) accuracy first above `train.memorized_accuracy` (`train.generalized_accuracy`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

__all__ = ["COLUMNS", "TRAINING", "mean_curve", "outcomes"]

#: What makes one training, seeds together.
TRAINING = ["combination", "checkpoint", "checkpoint_step"]
COLUMNS = (
    *TRAINING, "seed", "memorized_at", "generalized_at", "updates", "train_accuracy", "test_accuracy", "largest_gap",
)  # fmt: skip


def outcomes(curves: pd.DataFrame, memorized: float, generalized: float) -> pd.DataFrame:
    """What each network came to.

    Args:
        curves: columns of `explaind.studies.transplant`.
        memorized, generalized: the accuracies to exceed.

    Returns:
        Columns `COLUMNS`, in the order of the curves: first evaluated update above each accuracy (Int64, missing if never), the
        last update, accuracies there, and the largest train accuracy − test accuracy of any evaluation.
    """
    rows = []
    for key, part in curves.groupby([*TRAINING, "seed"], sort=False):
        last = part.iloc[-1]
        rows.append(
            (
                *key,
                _first(part, part.train_accuracy > memorized),
                _first(part, part.test_accuracy > generalized),
                int(last["update"]),
                last.train_accuracy,
                last.test_accuracy,
                float((part.train_accuracy - part.test_accuracy).max()),
            )
        )
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({"memorized_at": "Int64", "generalized_at": "Int64"})


def mean_curve(part: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean of a share over the seeds of one training, with its 95 % interval (Student's t), by update.

    Args:
        part: the curves of one training.
        column: a share.

    Returns:
        Columns `mean`, `low`, `high`, the interval cut off at 0 and 1; the index is `update`.
    """
    from scipy import stats  # takes longer than all of `outcomes`

    values = part.pivot(index="update", columns="seed", values=column)
    mean, error = values.mean(axis=1), stats.sem(values.to_numpy(), axis=1)
    half = stats.t.ppf(0.975, values.shape[1] - 1) * error
    table = {"mean": mean, "low": np.clip(mean - half, 0, 1), "high": np.clip(mean + half, 0, 1)}
    return pd.DataFrame(table, index=values.index)


def _first(part: pd.DataFrame, condition: pd.Series) -> int | None:
    """The first update at which a condition holds."""
    return int(part["update"][condition].iloc[0]) if condition.any() else None
