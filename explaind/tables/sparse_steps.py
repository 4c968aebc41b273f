"""Fidelity against the share of steps kept: one row per ranking and share, with the spread over random orders."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from explaind.config.declarations import Table
from explaind.store.files import write_csv

__all__ = ["COLUMNS", "TABLE", "write"]

TABLE = Table(
    file="sparse_steps",
    shows="fidelity by share of steps kept",
    details="One row per ranking and share: medians over the orders.",
    caption="**Sparse steps.** Fidelity by share of steps kept.",
    inputs={"sparse": "sparse"},
    requires="study.sparse",
    columns={
        "ranking": (
            "",
            "`held-out loss`: largest change of a held-out batch's loss, the paper's; `contribution`: largest sum of "
            "absolute contributions; `random`",
        ),
        "share": ("share", "of the steps that is kept"),
        "steps": ("updates", "kept"),
        "orders": ("", "that the row's medians are of"),
        "agreement": ("share", "tests whose largest rebuilt output is the model's"),
        "agreement_low": ("share", "lower end of the range that holds 95% of the orders"),
        "agreement_high": ("share", "its upper end"),
        "kl": ("nats", "mean KL divergence from the model's distribution to the rebuilt one"),
        "kl_low": ("nats", "lower end of the range that holds 95% of the orders"),
        "kl_high": ("nats", "its upper end"),
    },
)

COLUMNS = tuple(TABLE.columns)


def write(*, sparse: Path, output: Path) -> None:
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
