"""Figure 12's Lasso for each choice of what is explained, on whole periods and on frequencies.

The published fit offers cosines and sines whose period P is a whole number of labels, 2…p. A matrix on Z/p is a sum of whole
cycles, cos(2πkδ/p) with k = 1…(p−1)/2, whose periods p/k are not whole for a prime p, except for k = 1. Whole periods can only
surround any other cycle. So the same Lasso (`explaind.studies.periodicity`) is fitted on both bases.

The mean similarity of all pairs is subtracted first. The published fit has neither that nor an intercept; where cosines have a
mean (on logits), whole periods then spend coefficients of opposite signs and sizes up to 30 on imitating a constant.

An indicator of equal labels is every cycle at once: 1{δ = 0} = 1/p + (2/p) Σ_k cos(2πkδ/p). Equal coefficients on all frequencies
therefore say "same label", and nothing about the geometry of the numbers (`explaind.studies.geometry.comb`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from explaind.config.declarations import Stage
from explaind.store import read_dataset
from explaind.store.files import write_csv
from explaind.studies.labels import samples_of
from explaind.studies.periodicity import fit_periods

__all__ = ["COLUMNS", "PUBLISHED", "fit_bases", "write"]

STAGE = Stage(
    options=("name", "data", "model", "study.periodicity"),
    requires=("study.periodicity", "study.outputs", "study.kernel"),
    memory=3000,
    runtime=30,
)

COLUMNS = ("choice", "basis", "kind", "number", "coefficient")

#: The window of figure 12 itself: log-probabilities of all outputs, over all of the window's updates.
PUBLISHED = "published"


def write(
    config: Mapping[str, Any],
    *,
    window: Path,
    outputs: Path,
    phases: Path,
    output: Path,
    layer: str = "decoder",
) -> None:
    """Fit one layer's similarity matrices.

    Args:
        config: resolved configuration; read are `study.periodicity` and the data.
        window: store of kind "window", the published one (as `PUBLISHED`).
        outputs: store of kind "window" with a similarity for each choice.
        phases: JSON of the recorded run.
        output: CSV with `COLUMNS`: `basis` "period" or "frequency", `kind` "cos" or "sin", `number` P or k.
        layer: the layer whose similarity is fitted.
    """
    options = config["study"]["periodicity"]
    first, last = (int(period) for period in options["periods"])
    parts = []
    for choice, result in _matrices(window, outputs):
        samples = samples_of(result, config, phases)
        matrix = result["similarity"].sel(layer=layer).values
        table = fit_bases(
            matrix,
            samples.test_labels,
            samples.modulus,
            periods=np.arange(first, last + 1),
            alpha=float(options["alpha"]),
        )
        parts.append(table.assign(choice=choice)[list(COLUMNS)])
    write_csv(pd.concat(parts), output)


def fit_bases(
    similarity: np.ndarray, labels: np.ndarray, modulus: int, *, periods: np.ndarray, alpha: float
) -> pd.DataFrame:
    """Lasso coefficients on whole periods and on the frequencies k = 1…(p−1)/2.

    Args:
        similarity: `[n, n]`.
        labels: `[n]` integers.
        modulus: p.
        periods: `[K]` whole numbers.
        alpha: the penalty.

    Returns:
        `basis`, `kind`, `number`, `coefficient`.
    """
    frequencies = np.arange(1, (modulus - 1) // 2 + 1)
    tables, centred = [], similarity - similarity.mean(dtype=np.float64)
    for basis, numbers, lengths in (
        ("period", periods, periods),
        ("frequency", frequencies, modulus / frequencies),
    ):
        table = fit_periods(centred, labels, periods=lengths, alpha=alpha)
        tables.append(table.assign(basis=basis, number=np.tile(numbers, 2)).drop(columns="period"))
    return pd.concat(tables, ignore_index=True)[list(COLUMNS[1:])]


def _matrices(window: Path, outputs: Path) -> Iterator[tuple[str, Any]]:
    yield PUBLISHED, read_dataset(window, kind="window")
    result = read_dataset(outputs, kind="window")
    for choice in result["choice"].values:
        yield str(choice), result.sel(choice=choice)
