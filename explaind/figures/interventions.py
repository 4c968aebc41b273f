"""Measured against predicted effects of interventions: one panel per kind of group and of intervention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

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
    "First rows: every kind of group reset to its value at the window's start, and with one term of its updates taken out while "
    "everything else is as recorded. Last rows: the window trained anew without the term, and without training samples.",
    inputs={"findings": "proportionality", "points": "proportionality.points"},
    options=("figure.dpi",),
    requires="study.proportionality",
)

COLOURS = {"all": "#0072B2", "kernel": "#000000", "regularization": "#D55E00"}
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
NAMES = {
    "layer": "layers", "head": "attention heads", "neuron": "neurons", "parameter": "single parameters",
    "random samples": "random samples", "ranked samples": "samples by rank",
}  # fmt: skip
TITLES = {"reset": "reset", "leave out": "left out"}
TRAINED = ("remove, retrained", "leave out")
FROZEN = (("reset", "all"), ("remove, frozen path", "kernel"), ("remove, frozen path", "regularization"))
RETRAINED = (("remove, retrained", "kernel"), ("remove, retrained", "regularization"))

Place = tuple[str, str, str] | None
"""Kind of group, intervention and term of a panel; None: no panel."""


def draw(config: Mapping[str, Any], *, findings: Path, points: Path, stem: Path) -> None:
    """Draw the figure.

    Args:
        config: `figure.dpi`.
        findings: CSV of `explaind.studies.proportionality`.
        points: CSV of its points.
        stem: output path without its suffix.
    """
    by = ["kind", "intervention", "term"]
    table, found = pd.read_csv(points), pd.read_csv(findings)
    table = table[table.intervention != "none"]
    parts = dict(list(table.groupby(by, sort=False)))
    numbers = {tuple(row[name] for name in by): row for row in found.to_dict("records")}
    rows = places(list(parts))
    markers = dict(zip(table.window.unique(), cycle(MARKERS), strict=False))
    with new_figure(0.7 + 1.95 * len(rows), stem, config["figure"]["dpi"]) as figure:
        grid = figure.subplots(len(rows), 3, squeeze=False)
        for axes, place in zip(grid.flat, (place for row in rows for place in row), strict=True):
            if place is None:
                axes.set_axis_off()
            else:
                _panel(axes, place, parts[place], numbers[place], markers)
        figure.supxlabel("predicted change of the mean test loss (nats)", fontsize=8)
        figure.supylabel("measured change of the mean test loss (nats)", fontsize=8)
        _legend(figure, table, markers)


def places(present: Sequence[tuple[str, str, str]]) -> list[list[Place]]:
    """Rows of three panels: each kind with its frozen path; each kind retrained, with one of the samples' panels beside it."""
    kinds = list(dict.fromkeys(kind for kind, act, _ in present if act in ("reset", "remove, frozen path")))
    again = list(dict.fromkeys(kind for kind, act, _ in present if act == "remove, retrained"))
    samples: list[Place] = [place for place in present if place[1] == "leave out"]
    wanted: list[list[Place]] = [[(kind, *one) for one in FROZEN] for kind in kinds]
    for kind in again:
        wanted.append([*((kind, *one) for one in RETRAINED), samples.pop(0) if samples else None])
    while samples:
        wanted.append([*samples[:3], None, None, None][:3])
        del samples[:3]
    return [[place if place in present else None for place in row] for row in wanted]


def _panel(
    axes: Axes,
    place: tuple[str, str, str],
    part: pd.DataFrame,
    row: Mapping[str, Any],
    markers: Mapping[str, str],
) -> None:
    kind, act, term = place
    low, high = part.predicted.min(), part.predicted.max()
    axes.axline((0, 0), slope=1, color="0.6", linewidth=0.8, zorder=0)
    for window, one in part.groupby("window", sort=False):
        axes.plot(
            one.predicted, one.measured, markers[window], color=COLOURS[term], markersize=2.8, alpha=0.65, markeredgewidth=0,
        )  # fmt: skip
    margin = 0.08 * (max(high - low, abs(high)) or 1.0)
    axes.set_xlim(low - margin, high + margin)
    low, high = part.measured.min(), part.measured.max()
    margin = 0.08 * (max(high - low, abs(high)) or 1.0)
    axes.set_ylim(low - margin, high + margin)
    what = f"{term} removed" if act.startswith("remove") else TITLES[act]
    axes.set_title(
        f"{NAMES.get(kind, kind)}: {what}{', retrained' if act in TRAINED else ''}\n"
        f"$\\rho$ = {row['spearman']:.2f} [{row['spearman_low']:.2f}, {row['spearman_high']:.2f}], n = {row['count']}\n"
        f"slope {row['slope']:.2f} [{row['slope_low']:.2f}, {row['slope_high']:.2f}]: {row['verdict']}",
        fontsize=6, loc="left", linespacing=1.2,
    )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4))
        axis.get_offset_text().set_fontsize(5.5)
    axes.ticklabel_format(style="sci", scilimits=(-2, 3), useMathText=True)
    axes.yaxis.get_offset_text().set_visible(True)
    axes.tick_params(labelsize=6)


def _legend(figure: Any, table: pd.DataFrame, markers: Mapping[str, str]) -> None:
    style = {"linestyle": "none", "markersize": 3.5}
    terms = [
        Line2D(
            [],
            [],
            color=colour,
            marker="o",
            label="whole update" if term == "all" else f"{term} part",
            **style,
        )
        for term, colour in COLOURS.items()
        if term in set(table.term)
    ]
    bounds = table.groupby("window")[["start", "stop"]].first()
    marks = [
        Line2D(
            [],
            [],
            color="0.4",
            marker=marker,
            label=f"updates {bounds.start[window]}–{bounds.stop[window] - 1}",
            **style,
        )
        for window, marker in markers.items()
    ]
    figure.legend(handles=[*terms, *marks], loc="outside upper center", ncols=4)
