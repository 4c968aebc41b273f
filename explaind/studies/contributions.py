"""Single predictions decomposed by training samples: the largest contributions on both sides, and the rest; they add up.

For test sample x with true class y:  initial + Σ helpful + Σ harmful + rest + regularization + residual = final,  all in units of
log p_y(x). Helpful samples raised it most over the run, harmful ones lowered it most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from explaind.config.declarations import Stage
from explaind.experiments.runs import open_run
from explaind.store import read_dataset
from explaind.store.files import write_csv
from explaind.studies.datamodel import score_of_attribution

__all__ = ["COLUMNS", "choose", "write"]

STAGE = Stage(options=("study.examples",), requires="study.examples", memory=3000, runtime=15)

COLUMNS = ("test", "label", "predicted", "part", "rank", "train", "train_label", "score")


def write(config: Mapping[str, Any], *, trajectory: Path, attribution: Path, output: Path) -> None:
    """Write one row per part of each chosen prediction.

    Args:
        config: `study.examples.{tests,top}`.
        trajectory: the explained run.
        attribution: its store of data-level scores.
        output: CSV with `COLUMNS`; `part` is initial, helpful, harmful, rest, regularization, carried, residual or final.
            `rank`, `train` and `train_label` are empty where no single training sample is meant.
    """
    options = config["study"]["examples"]
    _, experiment = open_run(trajectory)
    scores = read_dataset(attribution, kind="attribution")
    labels = experiment.test[1][: scores.sizes["test"]].numpy()
    answers = experiment.train[1].numpy()
    kernel = score_of_attribution(scores, labels)
    predicted = scores["final"].transpose("test", "output").values.argmax(-1)
    rows: list[dict[str, Any]] = []
    for test in choose(labels, predicted, options["tests"]):
        of = {"test": test, "label": int(labels[test]), "predicted": int(predicted[test])}
        one = scores.isel(test=test, output=int(labels[test]))
        order = np.argsort(kernel[:, test], kind="stable")
        top = min(options["top"], len(order) // 2)
        shown = {"helpful": order[::-1][:top], "harmful": order[:top]}
        rows.append({**of, "part": "initial", "score": float(one["initial"])})
        for part, samples in shown.items():
            rows += [
                {
                    **of,
                    "part": part,
                    "rank": rank,
                    "train": int(k),
                    "train_label": int(answers[k]),
                    "score": float(kernel[k, test]),
                }
                for rank, k in enumerate(samples, start=1)
            ]
        rest = kernel[:, test].sum() - sum(kernel[samples, test].sum() for samples in shown.values())
        rows.append({**of, "part": "rest", "score": float(rest)})
        for part in ("regularization", "carried", "residual", "final"):
            if part in one:
                rows.append({**of, "part": part, "score": float(one[part])})
    table = pd.DataFrame(rows, columns=COLUMNS)
    for column in ("rank", "train", "train_label"):
        table[column] = table[column].astype("Int64")
    write_csv(table, output)


def choose(labels: np.ndarray, predicted: np.ndarray, count: int) -> Sequence[int]:
    """The first test samples, half of them classified rightly and half wrongly as far as there are any, rising."""
    right, wrong = (np.flatnonzero(mask) for mask in (labels == predicted, labels != predicted))
    wanted = min(len(wrong), count // 2)
    return sorted(int(test) for test in [*right[: count - wanted], *wrong[:wanted]])
