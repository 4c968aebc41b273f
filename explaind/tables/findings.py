"""The findings: each claim with its definition, in how many runs of each setting it holds, and a verdict reached by code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import binomtest

from explaind.config.declarations import Table
from explaind.store.files import write_csv
from explaind.studies.claims import measure_run
from explaind.studies.finding import NOT_REPRODUCED, PARTLY, REPRODUCED

__all__ = ["COLUMNS", "RUNS", "TABLE", "overall", "write"]

TABLE = Table(
    file="findings",
    shows="what the figures must show, measured in every run",
    details="One row per setting and claim. A setting is the experiment's own (the first) or another of `study.runs.settings`.",
    caption="**Findings.** What the figures must show, as numbers measured in every run: how many runs show it, and a verdict "
    "on the whole.",
    inputs={"runs": "explain_run"},
    requires=("study.runs", "study.periodicity"),
    columns={
        "setting": ("", "in which the runs differ from each other by their seed alone"),
        "figure": ("", "where the claim can be seen"),
        "claim": ("", "the statement"),
        "measure": ("", "the definition of what was measured, with the thresholds of a run's verdict"),
        "expected": ("", "what the claim implies"),
        "runs": ("", "explained runs of the setting, one per seed"),
        "reproduced": ("runs", "that show it"),
        "partly": ("runs", "that show a stated part of it"),
        "low": ("share", "of runs that show it: lower end of Wilson's 95% interval"),
        "high": ("share", "its upper end"),
        "value": ("", "the number that decides most (see `measure`), median over runs"),
        "least": ("", "its least value"),
        "largest": ("", "its largest value"),
        "verdict": (
            "",
            "`reproduced`: at least four of five runs show it; `partly reproduced`: at least half of them show it or a part of "
            "it; else `not reproduced`",
        ),
    },
    also={"each": "findings_runs"},
    also_columns={
        "each": {
            "setting": ("", "as in findings.csv"),
            "seed": ("", "of the run"),
            "figure": ("", "as in findings.csv"),
            "claim": ("", "as in findings.csv"),
            "measured": ("", "the values found in this run"),
            "value": ("", "the number that decides most"),
            "verdict": ("", "on this run: `reproduced`, `partly reproduced` or `not reproduced`"),
        }
    },
)

COLUMNS = tuple(TABLE.columns)
RUNS = tuple(TABLE.also_columns["each"])

MOST, HALF = 0.8, 0.5  # shares of runs that decide the verdict on the whole


def write(*, runs: Sequence[Path], output: Path, each: Path) -> None:
    """Measure every claim in every run, and count.

    Args:
        runs: folders `<setting>/<seed>` of `explaind.studies.explain_run`.
        output: CSV with `COLUMNS`.
        each: CSV with `RUNS`.
    """
    rows = []
    for run in map(Path, runs):
        setting, seed = run.parts[-2:]
        rows += [{"setting": setting, "seed": int(seed), **asdict(finding)} for finding in measure_run(run)]
    table = pd.DataFrame(rows)
    groups = table.groupby(["setting", "figure", "claim", "measure", "expected"], sort=False)
    write_csv(pd.DataFrame([overall(*group) for group in groups], columns=COLUMNS), output)
    write_csv(table[list(RUNS)], each)


def overall(key: tuple[str, ...], runs: pd.DataFrame) -> dict[str, Any]:
    """The row of one claim over the runs of a setting; `runs` has the columns `verdict` and `value`."""
    count, full = len(runs), int((runs.verdict == REPRODUCED).sum())
    part = int((runs.verdict == PARTLY).sum())
    interval = binomtest(full, count).proportion_ci(method="wilson")
    whole = NOT_REPRODUCED
    if full >= MOST * count:
        whole = REPRODUCED
    elif full + part >= HALF * count:
        whole = PARTLY
    return {
        **dict(zip(("setting", "figure", "claim", "measure", "expected"), key, strict=True)),
        "runs": count,
        "reproduced": full,
        "partly": part,
        "low": float(interval.low),
        "high": float(interval.high),
        "value": runs.value.median(),
        "least": runs.value.min(),
        "largest": runs.value.max(),
        "verdict": whole,
    }
