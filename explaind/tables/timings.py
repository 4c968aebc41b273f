"""How long the workflow's jobs took, from the records that Snakemake keeps of them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from explaind.config.declarations import Table
from explaind.store.files import write_csv

__all__ = ["COLUMNS", "TABLE", "write"]

TABLE = Table(
    file="timings",
    shows="wall time and memory of the jobs",
    details="One row per experiment, rule and job; jobs over ranges of one run's updates, or of subsets, are added up. The one "
    "table that differs from run to run. The seconds of table 1's rows are those of the rule `quadrature`, by number of nodes, "
    "and of `influence` for the adaptive row; those of `lds.csv` are in `attribution` (ExPLAIND) and `baseline`, by method; "
    "those of `reconstruction.csv` in `explain_update`, by checkpoint. Seeds that are not explained are left out. It reads the "
    "records in `benchmarks/`: a job whose record is deleted runs again.",
    caption="**Timings.** Wall time and memory of the jobs that the results came from, on the machine that ran them last.",
    inputs={
        "benchmarks": [
            "record.benchmark",
            "certify.benchmark",
            "influence.benchmark",
            "window.benchmark",
            "quadrature.benchmark",
            "importances.benchmark",
            "outputs.benchmark",
            "frequencies.benchmark",
            "sparse.benchmark",
            "pruning.benchmark",
            "attribution.benchmark",
            "baseline.benchmark",
            "retrain.benchmark",
            "datamodel.benchmark",
            "periodicity.benchmark",
            "contributions.benchmark",
            "transplant.benchmark",
            "swap.benchmark",
            "tokens.benchmark",
            "pretrain.benchmark",
            "explain_update.benchmark",
            "explain_languages.benchmark",
            "explain_interval.benchmark",
        ]
    },
    across=True,
    columns={
        "experiment": ("", "its folder"),
        "rule": ("", "of the workflow"),
        "of": (
            "",
            "window, number of nodes, method, fraction, split, combination of layers or checkpoint; empty where the "
            "rule has no such jobs",
        ),
        "jobs": ("", "that are added up"),
        "seconds": ("s", "wall time, summed over the jobs"),
        "max_seconds": ("s", "wall time of the longest job"),
        "max_memory": (
            "MB",
            "largest resident memory of a job; empty where none ran long enough to be measured",
        ),
    },
)

COLUMNS = tuple(TABLE.columns)


def write(*, benchmarks: Sequence[Path], output: Path) -> None:
    """Write the table, in the order of the files.

    Args:
        benchmarks: Snakemake's records, one JSON object per line, as `<experiment>/<rule>.jsonl` or, for one of several jobs,
            `<experiment>/<rule>/<wildcards>.jsonl`, below a folder "benchmarks".
        output: CSV with `COLUMNS`.
    """
    rows = [row for path in benchmarks for row in _rows(Path(path))]
    table = pd.DataFrame(rows, columns=["experiment", "rule", "of", "s", "max_rss"])
    for column in ("s", "max_rss"):
        table[column] = pd.to_numeric(
            table[column], errors="coerce"
        )  # "NA": the job was too short to be measured
    groups = table.groupby(["experiment", "rule", "of"], sort=False)
    totals = groups.agg(
        jobs=("s", "size"), seconds=("s", "sum"), max_seconds=("s", "max"), max_memory=("max_rss", "max")
    )
    write_csv(totals.reset_index()[list(COLUMNS)], output)


def _rows(path: Path) -> list[dict[str, Any]]:
    """One row per record of a file: a job that was repeated to be timed has several."""
    parts = path.with_suffix("").parts
    below = parts[len(parts) - parts[::-1].index("benchmarks") :]
    experiment, rule, *wildcards = below
    names = [name for name in wildcards if not re.fullmatch(r"\d+-\d+", name)]  # ranges of updates or subsets
    of = {"experiment": experiment, "rule": rule, "of": "/".join(names)}
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [{**of, "s": record["s"], "max_rss": record["max_rss"]} for record in records]
