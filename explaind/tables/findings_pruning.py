"""The findings on pruning: each claim with its definition, the value measured, and a verdict reached by code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from explaind.config.declarations import Table
from explaind.store.files import write_csv
from explaind.studies.finding import COLUMNS
from explaind.studies.pruning_claims import CLAIMS
from explaind.tables.pruning_methods import read_splits

__all__ = ["TABLE", "write"]

TABLE = Table(
    file="findings_pruning",
    shows="figure 2's claims, measured",
    details="One row per claim and experiment; a claim about a method that was not run is left out.",
    caption="**Findings on pruning.** The claims about figure 2, each with its definition, the value measured, and a verdict.",
    inputs={"pruned": "pruning"},
    requires="study.pruning",
    across=True,
    columns={
        "figure": ("", "where the claim can be seen"),
        "claim": ("", "the statement"),
        "measure": ("", "the definition of what was measured, with the thresholds of the verdict"),
        "measured": ("", "the values found"),
        "expected": ("", "what the claim implies"),
        "verdict": (
            "",
            "`reproduced`, `partly reproduced` or `not reproduced`, decided by code from the values",
        ),
    },
)


def write(*, pruned: Sequence[Path], output: Path) -> None:
    """Measure every claim of every experiment and write the verdicts.

    Args:
        pruned: CSV of each experiment and split of the study `pruning`, below a folder of the experiment's name.
        output: CSV with the columns of the findings.
    """
    findings = []
    for name, table in read_splits(pruned).groupby("experiment", sort=False):
        present = set(zip(table.method, table.rest, strict=True))
        findings += [
            replace(claim(table), figure=f"2, {name}")
            for claim, needed in CLAIMS.items()
            if needed <= present
        ]
    write_csv(pd.DataFrame([asdict(finding) for finding in findings], columns=COLUMNS), output)
