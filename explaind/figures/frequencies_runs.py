"""Frequencies over training in every run: the power of each frequency in the logits, one panel per setting and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from explaind.config.declarations import Figure
from explaind.figures.frequencies_figure import share_map
from explaind.figures.run_panels import run_panels
from explaind.store.files import read_json
from explaind.studies.spectrum import summarise

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="frequencies, every run",
    file="frequencies_runs",
    shows="power of every frequency of the logits over training, in every run",
    details="One row per setting of `study.runs`, one column per seed: share of each frequency k (whole cycles in p labels) in "
    "the power of the logits as a function of the distance from the label; white: mean frequency, which is (p+1)/4 for noise "
    "(dotted). Dashed: memorised, generalised. In the title the frequencies with the largest shares after the last update.",
    caption="**Frequencies over training, every run.** Share of each frequency in the power of the logits (colour), and the mean "
    "frequency (line), for every seed (columns) in every setting (rows). In the titles: the strongest frequencies at the end.",
    inputs={"runs": "explain_run"},
    options=("figure.dpi",),
    requires=("study.runs", "study.frequencies"),
)

QUANTITY = "logits"  # of the table of frequencies
NAMED = 3  # frequencies in a panel's title
LEAST = 0.1  # share of a frequency that is named


def draw(config: Mapping[str, Any], *, runs: Sequence[Path], stem: Path) -> None:
    """Draw the figure.

    Args:
        config: resolved configuration; read is `figure.dpi`.
        runs: folders `<setting>/<seed>` of `explaind.studies.explain_run`.
        stem: output path without its suffix.
    """
    with run_panels(runs, stem, config["figure"]["dpi"], height=1.4) as (figure, panels):
        for axes, path in panels:
            table, phases = pd.read_csv(path / "frequencies.csv"), read_json(path / "phases.json")
            rows = table[table.quantity == QUANTITY]
            image = share_map(axes, rows, summarise(rows), phases)
            last = rows[rows.step == rows.step.max()].nlargest(NAMED, "share")
            named = [str(row.frequency) for row in last.itertuples() if row.share >= LEAST]
            axes.set_title(f"seed {path.name}: {', '.join(named) or 'none'}", fontsize="medium")
        figure.supylabel("frequency $k$", fontsize="medium")
        figure.colorbar(
            image,
            ax=[axes for axes, _ in panels],
            label="share of the power",
            extend="min",
            pad=0.01,
            aspect=40,
        )
