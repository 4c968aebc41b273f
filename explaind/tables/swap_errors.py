"""Errors of two checkpoints by label difference, with and without the last checkpoint's layers; and how cyclic they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from explaind.config.declarations import Table
from explaind.store import read_dataset
from explaind.store.files import write_csv
from explaind.studies.label_differences import cyclic_error, difference_counts, differences, resampled_counts
from explaind.studies.swap import LEVELS, ORIGINAL, draws

__all__ = ["TABLE", "write"]

TABLE = Table(
    file="swap_errors",
    shows="errors by label difference, before and after layers are swapped in",
    details="One row per shown checkpoint and label difference d = (prediction − label) modulo `data.modulus`. Intervals: 95 %, "
    "bootstrap over tests.",
    caption="**Errors by label difference.** What the last checkpoint's layers change in the errors of earlier ones.",
    inputs={"swap": "swap"},
    options=("data.modulus", "study.swap.combination", "study.swap.resamples", "study.swap.seed"),
    requires=("study.swap", "data.modulus"),
    columns={
        "checkpoint": ("", "of the run, by name"),
        "step": ("step", "of the checkpoint"),
        "difference": ("", "d, from 1; `none`: the prediction is an output that is no label"),
        "original_errors": ("tests", "with this difference, by the checkpoint itself"),
        "swapped_errors": ("tests", "with this difference, after `study.swap.combination` is swapped in"),
        "original_share": ("share", "of the checkpoint's errors"),
        "swapped_share": ("share", "of the errors after swapping"),
        "change": ("share", "of all tests: swapped − original"),
        "low": ("share", "lower end of its interval"),
        "high": ("share", "upper end"),
    },
    also={"cyclic": "swap_cyclic"},
    also_columns={
        "cyclic": {
            "checkpoint": ("", "of the run, by name"),
            "step": ("step", "of the checkpoint"),
            "measure": (
                "",
                "`errors`: all; `cyclic errors`: |Σ over errors of exp(2πi·frequency·d/modulus)|, both as shares of the tests; "
                "`cyclic share`: the second as a share of the first",
            ),
            "frequency": ("cycles", "with the largest cyclic error of both together; empty for `errors`"),
            "original": ("share", "of the checkpoint itself"),
            "swapped": ("share", "after swapping"),
            "change": ("share", "swapped − original"),
            "low": ("share", "lower end of its interval"),
            "high": ("share", "upper end"),
        }
    },
)


def write(config: Mapping[str, Any], *, swap: Path, output: Path, cyclic: Path) -> None:
    """Count errors by label difference, and measure how cyclic they are.

    Args:
        config: `data.modulus`; `study.swap.{combination,resamples,seed}`.
        swap: store of kind "swap".
        output: CSV with the columns of `TABLE`.
        cyclic: CSV with those of its measures.
    """
    options, modulus = config["study"]["swap"], int(config["data"]["modulus"])
    result = read_dataset(swap, kind="swap")
    weights = draws(result.sizes["test"], options["resamples"], options["seed"])
    counted, measured = [], []
    for name, step in result.attrs["shown"].items():
        chosen = result["predicted"].sel(step=step)
        pair = [
            differences(chosen.sel(combination=one).values, result["labels"].values, modulus)
            for one in (ORIGINAL, options["combination"])
        ]
        counted.append(_by_difference(*pair, modulus, weights).assign(checkpoint=name, step=step))
        measured.append(_measures(*pair, modulus, weights).assign(checkpoint=name, step=step))
    write_csv(pd.concat(counted)[list(TABLE.columns)], output)
    write_csv(pd.concat(measured)[list(TABLE.also_columns["cyclic"])], cyclic)


def _by_difference(
    original: np.ndarray, swapped: np.ndarray, modulus: int, weights: np.ndarray
) -> pd.DataFrame:
    """Counts of each difference but 0, and the change of its share of the tests."""
    first, second = (difference_counts(found, modulus)[1:] for found in (original, swapped))
    drawn = [resampled_counts(found, modulus, weights)[:, 1:] for found in (original, swapped)]
    low, high = np.quantile((drawn[1] - drawn[0]) / len(original), LEVELS, axis=0)
    return pd.DataFrame(
        {
            "difference": [*range(1, modulus), "none"],
            "original_errors": first,
            "swapped_errors": second,
            "original_share": first / max(1, first.sum()),
            "swapped_share": second / max(1, second.sum()),
            "change": (second - first) / len(original),
            "low": low,
            "high": high,
        }
    )


def _measures(original: np.ndarray, swapped: np.ndarray, modulus: int, weights: np.ndarray) -> pd.DataFrame:
    """All errors, cyclic errors, and the share of these among those."""
    tests = len(original)
    wrong = [(found != 0).astype(np.float64) for found in (original, swapped)]
    low, high = np.quantile(weights @ (wrong[1] - wrong[0]) / tests, LEVELS)
    first, second = (part.mean() for part in wrong)
    errors = (pd.NA, first, second, second - first, low, high)
    names = ("errors", "cyclic errors", "cyclic share")
    rows = [errors, *cyclic_error(original, swapped, modulus, weights)]
    table = pd.DataFrame(rows, columns=["frequency", "original", "swapped", "change", "low", "high"])
    return table.assign(measure=names).astype({"frequency": "Int64"})
