"""Bands and cycles of every layer in every window, measured on kernels and similarities (`explaind.studies.cycles`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from explaind.store import read_dataset
from explaind.store.files import write_csv
from explaind.studies.cycles import band_share, cycle_shares, describe_cycles, log_size, same_label_share
from explaind.studies.labels import samples_of

__all__ = ["COLUMNS", "describe_matrix", "write"]

COLUMNS = (
    "kind",
    "layer",
    "window",
    "start",
    "stop",
    "band_share",
    "signed_band_share",
    "same_label_share",
    "cycle_share",
    "frequency",
    "frequency_share",
    "mean_frequency",
)


def write(config: Mapping[str, Any], *, windows: Sequence[Path], phases: Path, output: Path) -> None:
    """Write one row per kind of matrix, layer and window, windows in the order of training.

    Args:
        config: resolved configuration, for the samples' labels.
        windows: stores of kind "window", named after their window.
        phases: JSON of the recorded run.
        output: CSV with `COLUMNS`; the shares are defined in `explaind.studies.cycles`.
    """
    rows = [row for path in windows for row in _describe(config, Path(path), phases)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    write_csv(table.sort_values(["kind", "start"], kind="stable"), output)


def _describe(config: Mapping[str, Any], path: Path, phases: Path) -> list[dict[str, Any]]:
    """The rows of one window."""
    result = read_dataset(path, kind="window")
    samples = samples_of(result, config, phases)
    start, stop = result.attrs["window"]
    rows = []
    for kind, columns in (("kernel", samples.train_labels), ("similarity", samples.test_labels)):
        for layer in result["layer"].values:
            matrix = result[kind].sel(layer=layer).values
            rows.append(
                {
                    "kind": kind,
                    "layer": str(layer),
                    "window": path.stem,
                    "start": int(start),
                    "stop": int(stop),
                    **describe_matrix(kind, matrix, samples.test_labels, columns, samples.modulus),
                }
            )
    return rows


def describe_matrix(
    kind: str, matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray, modulus: int
) -> dict[str, float]:
    """The columns of one matrix, from `band_share` on.

    Args:
        kind: "kernel" or "similarity".
        matrix: `[n, m]`.
        rows, columns: labels `[n]` and `[m]`.
        modulus: p.
    """
    bands = (band_share(log_size(matrix)), band_share(matrix)) if kind == "kernel" else (nan, nan)
    if kind == "similarity":
        matrix = _without_self(matrix)
    cycles = describe_cycles(cycle_shares(matrix, rows, columns, modulus))
    return {
        "band_share": bands[0],
        "signed_band_share": bands[1],
        "same_label_share": same_label_share(matrix, rows, columns),
        "cycle_share": cycles.share,
        "frequency": cycles.frequency,
        "frequency_share": cycles.strongest_share,
        "mean_frequency": cycles.mean_frequency,
    }


def _without_self(similarity: np.ndarray) -> np.ndarray:
    """The matrix with the mean of the other pairs on its diagonal.

    Each sample is like itself, whatever its label; ones on the diagonal would count as likeness of equal labels.
    """
    matrix = similarity.astype(np.float64)
    count = len(matrix)
    np.fill_diagonal(matrix, (matrix.sum() - np.trace(matrix)) / (count * (count - 1)))
    return matrix
