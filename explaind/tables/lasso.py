"""The Lasso coefficients that are not zero, largest first, beside the paper's."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from explaind.config.declarations import Table
from explaind.store.files import write_csv

__all__ = ["COLUMNS", "PAPER", "TABLE", "write"]

TABLE = Table(
    file="lasso",
    shows="periods of the similarity",
    details="The coefficients that are not zero, largest first.",
    caption="**Lasso.** The coefficients that are not zero, largest first.",
    inputs={"periodicity": "periodicity"},
    requires="study.periodicity",
    columns={
        "kind": ("", "`cos` or `sin` of 2π·label difference/period"),
        "period": ("labels", "of the cosine or sine"),
        "coefficient": ("cosine similarity", "of this run"),
        "paper": ("cosine similarity", "the paper's coefficient of the same period; another seed's run"),
    },
)

COLUMNS = tuple(TABLE.columns)

#: Figure 12 of the paper, cosines only. Its run has another seed, and the seed decides which periods a run uses.
PAPER = {
    113: 0.112333,
    76: 0.008232,
    51: 0.004451,
    75: 0.003616,
    52: 0.001763,
    37: 0.000679,
    13: 0.000483,
    28: 0.000259,
    38: 0.000093,
}


def write(*, periodicity: Path, output: Path) -> None:
    """Write the coefficients of this run or of the paper that are not zero.

    Args:
        periodicity: CSV of the study (kind, period, coefficient).
        output: CSV with `COLUMNS`, sorted by |coefficient|, then by the paper's; `paper` is 0 where the paper reports none.
    """
    table = pd.read_csv(periodicity)
    table["paper"] = [
        PAPER.get(period, 0.0) if kind == "cos" else 0.0
        for kind, period in zip(table.kind, table.period, strict=True)
    ]
    table = table[(table.coefficient != 0) | (table.paper != 0)]
    order = table.assign(size=table.coefficient.abs()).sort_values(
        ["size", "paper"], ascending=False, kind="stable"
    )
    write_csv(order[list(COLUMNS)], output)
