"""Measured against predicted effects of interventions: one panel per kind of group and of intervention."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from explaind.config.declarations import Figure
from explaind.figures.style import new_figure

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="proportionality",
    file="proportionality_{experiment}",
    shows="interventions, measured against predicted by the scores",
    details="change of the mean test loss after resetting groups of parameters, removing a term of their updates, or leaving out "
    "training samples, against the change that the scores predict, with rank correlation ρ and slope, and the verdict",
    caption="Interventions on windows of updates: the measured change of the mean test loss against the change that the scores "
    "predict. Grey: the identity. ρ: Spearman's correlation, slope: Σxy / Σx², with 95% bootstrap intervals over interventions. "
    "Rows: kinds of group; columns: reset to the value at the window's start; one term of the updates taken out, everything else "
    "as recorded; the same with the window trained anew. Last row: the window trained anew without training samples.",
    inputs={"findings": "proportionality", "points": "proportionality.points"},
    options=("figure.dpi",),
    requires="study.proportionality",
)

COLOURS = {"all": "#0072B2", "kernel": "#000000", "regularization": "#D55E00"}
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
NAMES = {
    "layer": "layers", "head": "attention heads", "neuron": "neurons", "parameter": "single parameters",
    "random samples": "random sets of samples", "ranked samples": "sets by rank of score",
}  # fmt: skip
TITLES = {
    "reset": "reset to the start", "remove, frozen path": "term removed, path frozen",
    "remove, retrained": "term removed, retrained", "leave out": "left out, retrained",
}  # fmt: skip
ACTS = ("reset", "remove, frozen path", "remove, retrained")


def draw(config: Mapping[str, Any], *, findings: Path, points: Path, stem: Path) -> None:
    """Draw the figure.

    Args:
        config: `figure.dpi`.
        findings: CSV of `explaind.studies.proportionality`.
        points: CSV of its points.
        stem: output path without its suffix.
    """
    table, found = pd.read_csv(points), pd.read_csv(findings)
    table = table[table.intervention != "none"]
    kinds = list(table[table.intervention == "reset"].kind.unique())
    panels = [[(kind, act) for act in ACTS] for kind in kinds]
    panels.append([(kind, "leave out") for kind in table[table.intervention == "leave out"].kind.unique()])
    windows = dict(zip(table.window.astype(str).unique(), cycle(MARKERS), strict=False))
    starts = table.groupby(table.window.astype(str), sort=False)[["start", "stop"]].first()
    with new_figure(0.5 + 1.95 * len(panels), stem, config["figure"]["dpi"]) as figure:
        grid = figure.subplots(len(panels), len(ACTS), squeeze=False)
        for axes_row, row in zip(grid, panels, strict=True):
            for axes in axes_row[len(row) :]:
                axes.set_axis_off()
            for axes, (kind, act) in zip(axes_row, row, strict=False):
                part = table[(table.kind == kind) & (table.intervention == act)]
                rows = found[(found.kind == kind) & (found.intervention == act)]
                axes.set_title(f"{NAMES.get(kind, kind)}: {TITLES[act]}", fontsize=7, loc="left")
                if len(part):
                    _panel(axes, part, rows, windows)
                else:
                    axes.set_axis_off()
                    axes.text(
                        0.5, 0.5, "not done", ha="center", va="center", transform=axes.transAxes, color="0.5"
                    )
        figure.supxlabel("predicted change of the mean test loss (nats)", fontsize=8)
        figure.supylabel("measured change of the mean test loss (nats)", fontsize=8)
        _legend(figure, table, windows, starts)


def _panel(axes: Axes, part: pd.DataFrame, found: pd.DataFrame, windows: Mapping[str, str]) -> None:
    ends = np.array([part.predicted.min(), part.predicted.max()])
    axes.axline((0, 0), slope=1, color="0.6", linewidth=0.8, zorder=0)
    for (term, window), one in part.groupby(["term", part.window.astype(str)], sort=False):
        axes.plot(
            one.predicted, one.measured, windows[window], color=COLOURS[term], markersize=2.6, alpha=0.65,
            markeredgewidth=0,
        )  # fmt: skip
    margin = 0.08 * max(np.ptp(ends), np.finfo(float).tiny)
    axes.set_xlim(ends[0] - margin, ends[1] + margin)
    low, high = part.measured.min(), part.measured.max()
    height = max(high - low, np.finfo(float).tiny)
    lines = len(found)
    axes.set_ylim(
        low - 0.08 * height, high + (0.12 + 0.3 * lines) * height
    )  # room for the numbers above the points
    for number, row in enumerate(found.rename(columns={"count": "count_of"}).itertuples()):
        text = (
            f"$\\rho$ = {row.spearman:.2f} [{row.spearman_low:.2f}, {row.spearman_high:.2f}], n = {row.count_of}\n"
            f"slope {row.slope:.2g} [{row.slope_low:.2g}, {row.slope_high:.2g}]: {row.verdict}"
        )
        axes.text(
            0.02, 0.99 - 0.21 * number, text, transform=axes.transAxes, va="top", fontsize=5.2, color=COLOURS[row.term],
            linespacing=1.15,
        )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=6)
    for text in (axes.xaxis.get_offset_text(), axes.yaxis.get_offset_text()):
        text.set_fontsize(5.5)


def _legend(figure: Any, table: pd.DataFrame, windows: Mapping[str, str], starts: pd.DataFrame) -> None:
    terms = [
        Line2D([], [], color=colour, marker="o", linestyle="none", markersize=3.5, label=name)
        for term, colour in COLOURS.items()
        if term in set(table.term)
        for name in ("whole update" if term == "all" else f"{term} part",)
    ]
    marks = [
        Line2D(
            [],
            [],
            color="0.4",
            marker=marker,
            linestyle="none",
            markersize=3.5,
            label=f"updates {starts.start[window]}–{starts.stop[window] - 1}",
        )
        for window, marker in windows.items()
    ]
    figure.legend(handles=[*terms, *marks], loc="outside upper center", ncols=min(4, len(terms) + len(marks)))
