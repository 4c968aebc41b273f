"""What one explained update says about all updates up to the next checkpoint.

For every interval that was explained update by update: the scores summed over the interval, against the scores of the single
simulated update at its start times the number of updates, which is all that checkpoints alone can say.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import spearmanr

from explaind.store import read_dataset
from explaind.store.files import write_csv
from explaind.studies.components import by_cell, by_component

__all__ = ["write"]


def write(updates: Path, intervals: list[Path], *, output: Path) -> None:
    """Write one row per interval and term, and a row "all" for the sum of the terms.

    Args:
        updates: store "updates".
        intervals: stores "update-interval".
        output: CSV: checkpoint, start, stop (updates), term; full and subsampled (sum over all parameters, nats per token);
            cosine, spearman, same_sign (over the components at each depth: of the two vectors, and the share of cells whose
            signs agree); strongest_full, strongest_subsampled (the kind of component that lowers the loss most); change,
            residual (of the whole interval: exact, and not explained by the scores); replay (largest relative error of a repeated
            update), arrival (distance from the next checkpoint at the end, as a share of the way).
    """
    single = read_dataset(updates, kind="updates")["score"]
    rows = []
    for path in intervals:
        found = read_dataset(path, kind="update-interval")
        count = found.sizes["update"]
        full = found["score"].sum("update")
        alone = single.sel(checkpoint=found.attrs["checkpoint"]) * count
        for term in [*map(str, full["term"].values), "all"]:
            pair = [
                scores.sum("term") if term == "all" else scores.sel(term=term) for scores in (full, alone)
            ]
            rows.append(
                {
                    "checkpoint": found.attrs["checkpoint"],
                    "start": int(found["update"][0]),
                    "stop": int(found["update"][-1]) + 1,
                    "term": term,
                    **_compare(*pair),
                    "change": float(found["change"].sum()),
                    "residual": float(found["residual"].sum()),
                    "replay": float(found["replay"].max()),
                    "arrival": found.attrs["arrival"],
                }
            )
    write_csv(pd.DataFrame(rows), output)


def _compare(full: xr.DataArray, alone: xr.DataArray) -> dict[str, float | str]:
    """Two vectors of scores over units, compared over components at each depth."""
    a, b = (by_cell(scores).values for scores in (full, alone))
    kinds = [by_component(scores) for scores in (full, alone)]
    strongest = [str(kind["component"].values[kind.values.argmin()]) for kind in kinds]
    return {
        "full": float(a.sum()),
        "subsampled": float(b.sum()),
        "cosine": float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b) or 1.0)),
        # The ranks of a constant vector are not defined.
        "spearman": float(spearmanr(a, b).statistic) if np.ptp(a) and np.ptp(b) else np.nan,
        "same_sign": float(np.mean(np.sign(a) == np.sign(b))),
        "strongest_full": strongest[0],
        "strongest_subsampled": strongest[1],
    }
