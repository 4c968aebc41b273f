"""Fidelity against the share of steps kept: one row per ranking and share, with the spread over random orders."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from explaind.store.files import write_csv

__all__ = ["COLUMNS", "write"]

COLUMNS = (
    "ranking",
    "share",
    "steps",
    "orders",
    "agreement",
    "agreement_low",
    "agreement_high",
    "kl",
    "kl_low",
    "kl_high",
)


def write(sparse: Path, *, output: Path) -> None:
    """Write medians over orders and the range that holds 95 % of them.

    Args:
        sparse: CSV of `explaind.studies.sparse`.
        output: CSV with `COLUMNS`.
    """
    rows = []
    for (ranking, share), part in pd.read_csv(sparse).groupby(["ranking", "share"], sort=True):
        row = {"ranking": ranking, "share": share, "steps": int(part.steps.iloc[0]), "orders": len(part)}
        for measure in ("agreement", "kl"):
            row[measure] = part[measure].median()
            row[f"{measure}_low"], row[f"{measure}_high"] = part[measure].quantile([0.025, 0.975])
        rows.append(row)
    write_csv(pd.DataFrame(rows, columns=COLUMNS), output)
