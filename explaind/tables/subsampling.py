"""What one explained update says about all updates up to the next checkpoint.

For every interval that was explained update by update: the scores summed over the interval, against the scores of the single
simulated update at its start times the number of updates, which is all that checkpoints alone can say.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import spearmanr

from explaind.config.declarations import Table
from explaind.store import read_dataset
from explaind.store.files import write_csv
from explaind.studies.components import by_cell, by_component

__all__ = ["TABLE", "write"]

TABLE = Table(
    file="subsampling",
    shows="checkpoints alone against every update",
    details="One row per interval and term: every update of an interval against its first.",
    caption="Every update between two checkpoints, decomposed, against what the first of them says alone.",
    inputs={"updates": "updates", "intervals": "explain_interval"},
    requires="study.intervals",
    columns={
        "checkpoint": ("", "at the start of the interval"),
        "start": ("step", "first update of our own run that was repeated and explained"),
        "stop": ("step", "behind the last"),
        "term": ("", "`batch`, `momentum`, `regularization` or `all`"),
        "full": ("nats per token", "Σ of scores over the interval"),
        "subsampled": ("nats per token", "score of the checkpoint's simulated update × number of updates"),
        "cosine": ("−1…1", "of the two vectors over components at each depth"),
        "spearman": ("−1…1", "rank correlation of the two"),
        "same_sign": ("share", "of these components"),
        "strongest_full": ("", "kind of component that lowers the loss most, over the interval"),
        "strongest_subsampled": ("", "the same by the simulated update"),
        "change": ("nats per token", "of the held-out loss over the interval, exact"),
        "residual": ("nats per token", "what the scores do not explain of it"),
        "replay": (
            "share",
            "largest relative l2 error of a tensor between the sum of the terms and torch's own update",
        ),
        "arrival": (
            "share",
            "distance from the next checkpoint at the end, of the distance between the checkpoints; 0: the same bits",
        ),
    },
)


def write(*, updates: Path, intervals: Sequence[Path], output: Path) -> None:
    """Write one row per interval and term, and a row "all" for the sum of the terms.

    Args:
        updates: store "updates".
        intervals: stores "update-interval".
        output: CSV with the columns of `TABLE`.
    """
    single = read_dataset(updates, kind="updates")["score"]
    rows = []
    for path in intervals:
        interval = read_dataset(path, kind="update-interval")
        count = interval.sizes["update"]
        full = interval["score"].sum("update")
        alone = single.sel(checkpoint=interval.attrs["checkpoint"]) * count
        for term in [*map(str, full["term"].values), "all"]:
            pair = [
                scores.sum("term") if term == "all" else scores.sel(term=term) for scores in (full, alone)
            ]
            rows.append(
                {
                    "checkpoint": interval.attrs["checkpoint"],
                    "start": int(interval["update"][0]),
                    "stop": int(interval["update"][-1]) + 1,
                    "term": term,
                    **_compare(*pair),
                    "change": float(interval["change"].sum()),
                    "residual": float(interval["residual"].sum()),
                    "replay": float(interval["replay"].max()),
                    "arrival": interval.attrs["arrival"],
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
