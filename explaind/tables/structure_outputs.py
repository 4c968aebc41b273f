"""Bands, cycles and ranges of every kernel and similarity for each choice of what is explained (`explaind.studies.outputs`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from explaind.config.declarations import Table
from explaind.store import read_dataset
from explaind.store.files import write_csv
from explaind.studies.bands import describe_matrix
from explaind.studies.labels import samples_of
from explaind.studies.profiles import offdiagonal_range

__all__ = ["COLUMNS", "TABLE", "write"]

TABLE = Table(
    file="structure_outputs",
    shows="bands and cycles for each choice of the explained output",
    details="One row per choice, kind of matrix, layer and window, as in `structure.csv`; summed over the last "
    "`study.outputs.width` updates of each window.",
    caption="**Structure by explained output.** As the table of structure, for log-probabilities of all outputs, logits and the "
    "true class alone.",
    inputs={"kernels": "outputs.kernel", "similarities": "outputs.similarity", "phases": "phases"},
    options=("name", "data", "model"),
    requires=("study.outputs", "data.modulus"),
    columns={
        "choice": ("", "what is explained: `log_probabilities` (of all outputs), `logits` or `true_class`"),
        "kind": ("", "`kernel` (test × train) or `similarity` (test × test)"),
        "layer": ("", "whose matrix"),
        "window": ("", "its name"),
        "start": ("step", "first explained update"),
        "stop": ("step", "behind the last"),
        "band_share": ("share", "as in `structure.csv`"),
        "signed_band_share": ("share", "as in `structure.csv`"),
        "same_label_share": ("share", "as in `structure.csv`"),
        "cycle_share": ("share", "as in `structure.csv`"),
        "frequency": ("cycles in p labels", "of the strongest cycle"),
        "frequency_share": ("share", "of that cycle alone"),
        "mean_frequency": ("cycles in p labels", "mean weighted by the cycles' shares"),
        "offdiagonal_low": ("cosine", "0.5% of the pairs of different samples lie below; similarities only"),
        "offdiagonal_high": ("cosine", "0.5% of them lie above; similarities only"),
        "offdiagonal_mean": ("cosine", "their mean; similarities only"),
        "residual_share": (
            "share",
            "what integration and replay miss: Σ |residual| over tests, of Σ |regularization influence| of all layers; kernels "
            "only. The net change is no measure, as kernel and regularization nearly cancel in it",
        ),
    },
)

COLUMNS = tuple(TABLE.columns)


def write(
    config: Mapping[str, Any],
    *,
    kernels: Sequence[Path],
    similarities: Sequence[Path],
    phases: Path,
    output: Path,
) -> None:
    """Write one row per choice, kind of matrix, layer and window.

    Args:
        config: resolved configuration, for the samples' labels.
        kernels, similarities: stores of kind "window" with one matrix for each choice and layer.
        phases: JSON of the recorded run.
        output: CSV with `COLUMNS`.
    """
    rows = [
        row
        for kind, paths in (("kernel", kernels), ("similarity", similarities))
        for path in paths
        for row in _rows(config, kind, path, phases)
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    order = list(dict.fromkeys(table.choice))
    table = table.assign(order=table.choice.map(order.index)).sort_values(
        ["order", "kind", "start"], kind="stable"
    )
    write_csv(table[list(COLUMNS)], output)


def _rows(config: Mapping[str, Any], kind: str, path: Path, phases: Path) -> Iterator[dict[str, Any]]:
    result = read_dataset(path, kind="window")
    samples = samples_of(result, config, phases)
    start, stop = result.attrs["window"]
    columns = samples.train_labels if kind == "kernel" else samples.test_labels
    for choice in result["choice"].values:
        for layer in result["layer"].values:
            matrix = result[kind].sel(choice=choice, layer=layer).values
            more = {"residual_share": nan}
            if kind == "kernel":
                one = result.sel(choice=choice)
                size = float(abs(one["regularization"].sum("layer")).sum())
                more["residual_share"] = float(abs(one["residual"]).sum()) / size if size else nan
                more |= dict.fromkeys(("offdiagonal_low", "offdiagonal_high", "offdiagonal_mean"), nan)
            else:
                low, high = offdiagonal_range(matrix)
                pairs = ~np.eye(len(matrix), dtype=bool)
                mean = float(matrix[pairs].mean(dtype=np.float64))
                more |= {"offdiagonal_low": low, "offdiagonal_high": high, "offdiagonal_mean": mean}
            yield {
                "choice": str(choice),
                "kind": kind,
                "layer": str(layer),
                "window": result.attrs["name"],
                "start": int(start),
                "stop": int(stop),
                **describe_matrix(kind, matrix, samples.test_labels, columns, samples.modulus),
                **more,
            }
