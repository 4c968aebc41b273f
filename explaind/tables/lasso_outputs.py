"""The Lasso coefficients that are not zero for each choice of what is explained, on whole periods and on frequencies."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from explaind.config.declarations import Table
from explaind.store.files import write_csv

__all__ = ["COLUMNS", "TABLE", "write"]

TABLE = Table(
    file="lasso_outputs",
    shows="periods and frequencies of the similarity for each choice of the explained output",
    details="The coefficients that are not zero, largest first in each choice and basis; the mean similarity is subtracted.",
    caption="**Lasso by explained output.** The coefficients that are not zero, on whole periods and on frequencies k/p.",
    inputs={"spectra": "spectra"},
    requires=("study.outputs", "study.periodicity"),
    columns={
        "choice": ("", "what is explained; `published`: the window of figure 12, all of its updates"),
        "basis": ("", "`period`: whole numbers of labels; `frequency`: whole cycles in p labels"),
        "kind": ("", "`cos` or `sin` of 2π·label difference/period"),
        "number": ("labels or cycles in p labels", "the period, or the frequency k (its period is p/k)"),
        "coefficient": ("cosine similarity", "of the cosine or sine"),
    },
)

COLUMNS = tuple(TABLE.columns)


def write(*, spectra: Path, output: Path) -> None:
    """Write the coefficients that are not zero.

    Args:
        spectra: CSV of `explaind.studies.spectra`.
        output: CSV with `COLUMNS`.
    """
    table = pd.read_csv(spectra)
    table = table[table.coefficient != 0].assign(size=lambda rows: rows.coefficient.abs())
    table["group"] = table.groupby(["choice", "basis"], sort=False).ngroup()
    table = table.sort_values(["group", "size"], ascending=[True, False], kind="stable")
    write_csv(table[list(COLUMNS)], output)
