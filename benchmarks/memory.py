"""Peak memory and time of every job of the workflow, as Snakemake measured them in results/benchmarks."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.setting import show


def run(folder: Path, results: Path = Path("results")) -> None:
    """The largest resident size of each kind of job; at most 3 GB."""
    rows = []
    for path in sorted((results / "benchmarks").rglob("*.jsonl")):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            rows.append(
                (
                    str(path.relative_to(results / "benchmarks")),
                    float(entry["s"]),
                    float(entry["max_rss"]) / 1e3,
                )
            )
    if not rows:
        print("memory: no results/benchmarks here; run `make figures` first.")
        return
    rows.sort(key=lambda row: -row[2])
    show("jobs by peak memory: at most 3 GB", ("job", "s", "peak, GB"), rows)
