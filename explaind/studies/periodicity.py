"""Which period explains a similarity matrix: Lasso on cosines and sines of the pairwise label difference.

For test samples with labels y_i the similarity S_ij is regressed, without intercept, on cos(2π δ/P) and sin(2π δ/P) with
δ = y_i − y_j and the periods P = 2…p (the paper's section 5.2; its figure calls P the frequency):

    minimise over w   1/(2 n²) Σ_ij (S_ij − x(δ_ij)·w)² + α Σ|w|

The features depend on δ alone, which takes at most 2p − 1 values, so the n² pairs reduce without loss to one weighted row per
value: c_δ pairs with mean similarity s_δ. Only a constant (the variance inside each δ) leaves the objective. Four million
pairs and 224 features become 225 rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import Lasso

from explaind.config.declarations import Stage
from explaind.errors import DataError
from explaind.store import read_dataset
from explaind.store.files import write_csv
from explaind.studies.labels import samples_of

__all__ = ["difference_means", "fit_periods", "lasso", "period_features"]

STAGE = Stage(
    options=("name", "data", "model", "study.periodicity"),
    requires="study.periodicity",
    memory=3000,
    runtime=60,
)


def lasso(
    config: Mapping[str, Any], window: Path, phases: Path, *, output: Path, layer: str = "decoder"
) -> None:
    """Fit the periods of one layer's similarity matrix and write the coefficients.

    Args:
        config: resolved configuration; read are `study.periodicity.alpha` and `.periods` (first and last), and the data.
        window: store of kind "window" (the paper takes the last one).
        phases: JSON of the recorded run.
        output: CSV to write: `kind` (cos or sin), `period` (in labels), `coefficient` (in units of cosine similarity).
        layer: the layer whose similarity is fitted.
    """
    result = read_dataset(window, kind="window")
    samples = samples_of(result, config, phases)
    options = config["study"]["periodicity"]
    first, last = options["periods"]
    table = fit_periods(
        result["similarity"].sel(layer=layer).values,
        samples.test_labels,
        periods=np.arange(int(first), int(last) + 1),
        alpha=float(options["alpha"]),
    )
    write_csv(table, output)


def fit_periods(
    similarity: np.ndarray, labels: np.ndarray, *, periods: np.ndarray, alpha: float
) -> pd.DataFrame:
    """Lasso coefficients of every period.

    Args:
        similarity: `[n, n]`, S.
        labels: `[n]` integers, y.
        periods: `[K]` positive integers, P.
        alpha: penalty α.

    Returns:
        2K rows: `kind`, `period`, `coefficient`; all cosines, then all sines.

    Raises:
        DataError: the similarity has values that are not finite.
    """
    if not np.isfinite(similarity).all():
        raise DataError(
            "The similarity matrix has values that are not finite.",
            expected="a cosine between -1 and 1 for each pair",
            got=f"{int((~np.isfinite(similarity)).sum())} values that are NaN or infinite",
            remedy="Compute the window again; a sample whose score vector is zero has no cosine.",
        )
    differences, counts, means = difference_means(similarity, labels)
    rows = len(differences)
    # Scaling row δ by sqrt(c_δ · rows / n²) makes scikit-learn's 1/(2 rows) Σ equal to 1/(2 n²) Σ over all pairs.
    scale = np.sqrt(counts * rows / counts.sum())
    features = period_features(differences, periods) * scale[:, None]
    model = Lasso(alpha=alpha, fit_intercept=False, tol=1e-8, max_iter=1_000_000)
    model.fit(features, means * scale)
    kinds = np.repeat(["cos", "sin"], len(periods))
    return pd.DataFrame({"kind": kinds, "period": np.tile(periods, 2), "coefficient": model.coef_})


def difference_means(similarity: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct label differences δ = y_i − y_j, the number of pairs of each, and their mean similarity (float64)."""
    difference = np.subtract.outer(labels, labels)
    offset = -int(difference.min())
    index = (difference + offset).ravel()
    counts = np.bincount(index)
    sums = np.bincount(index, weights=similarity.astype(np.float64).ravel())
    present = np.flatnonzero(counts)
    return present - offset, counts[present], sums[present] / counts[present]


def period_features(differences: np.ndarray, periods: np.ndarray) -> np.ndarray:
    """`[N, 2K]`: cos(2π δ/P) of every period, then sin(2π δ/P)."""
    angles = 2 * np.pi * np.outer(differences, 1 / periods)
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
