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
    "everything else is as recorded. Last rows: the window trained anew without the term, and without training samples. Of a "
    "language model, tests are held-out sequences; the first rows are single simulated updates of its checkpoints, the next "
    "ones its own updates after a checkpoint; components that are held back stay as they were while the others are trained; "
    "languages are left out of the batch of a simulated update.",
    inputs={"findings": "proportionality", "points": "proportionality.points"},
    options=("figure.dpi",),
    requires="study.proportionality",
)

#: Of what is taken out: all of an update, or a term of it; in the order of the panels.
COLOURS = {
    "all": "#0072B2", "kernel": "#000000", "batch": "#000000", "momentum": "#CC79A7", "regularization": "#D55E00",
}  # fmt: skip
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
NAMES = {
    "layer": "layers", "head": "heads", "neuron": "neurons", "parameter": "single parameters",
    "component": "components", "tensor": "single tensors",
    "random samples": "random samples", "ranked samples": "samples by rank", "language": "languages",
}  # fmt: skip
#: What resets a group, and what removes one term and leaves all else as it was: over a window, and in one update.
PATHS = (("reset, one update", "remove, one update"), ("reset", "remove, frozen path"))
RETRAINED, LEFT_OUT = "remove, retrained", "leave out"
FEWEST = 3  # panels of a row

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
    numbers = {
        key: rows.sort_values("updates").to_dict("records") for key, rows in found.groupby(by, sort=False)
    }
    lengths = max(map(len, numbers.values()))
    rows = places(list(parts))
    columns = len(rows[0])
    markers = dict(zip(table.window.unique(), cycle(MARKERS), strict=False))
    height = (1.95 if columns == FEWEST else 2.1) + 0.2 * (lengths - 1)
    with new_figure(0.7 + height * len(rows), stem, config["figure"]["dpi"]) as figure:
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for axes, place in zip(grid.flat, (place for row in rows for place in row), strict=True):
            if place is None:
                axes.set_axis_off()
            else:
                title = _title(place, numbers[place], narrow=columns > FEWEST)
                _panel(axes, place[2], parts[place], title, markers)
        figure.supxlabel("predicted change of the mean test loss (nats)", fontsize=8)
        figure.supylabel("measured change of the mean test loss (nats)", fontsize=8)
        _legend(figure, table, markers)


def places(present: Sequence[tuple[str, str, str]]) -> list[list[Place]]:
    """Rows of panels: each kind along the recorded path, a column for all and for each term; each kind retrained; the samples.

    Samples stand beside what is retrained, as far as there is room.
    """
    acts = {label: path for path in PATHS for label in path}
    samples = [one for one in present if one[1] == LEFT_OUT or one[0] == "language"]
    frozen = [one for one in present if one[1] in acts and one not in samples]
    terms = [term for term in COLOURS if any(one[2] == term for one in frozen)]
    columns = max(FEWEST, len(terms))
    rows: list[list[Place]] = []
    for path in PATHS:
        for kind in dict.fromkeys(kind for kind, act, _ in frozen if acts[act] == path):
            rows.append([(kind, path[term != "all"], term) for term in terms])
    for kind in dict.fromkeys(kind for kind, act, _ in present if act == RETRAINED):
        row: list[Place] = [(kind, RETRAINED, term) for term in terms if (kind, RETRAINED, term) in present]
        room = columns - len(row)
        rows.append([*row, *samples[:room]])
        del samples[:room]
    rows += [list(samples[first : first + columns]) for first in range(0, len(samples), columns)]
    filled = [[place if place in present else None for place in row] for row in rows]
    return [[*row, *[None] * (columns - len(row))] for row in filled]


def _title(place: tuple[str, str, str], rows: Sequence[Mapping[str, Any]], *, narrow: bool) -> str:
    """What a panel shows, and its numbers for each length of windows."""
    kind, act, term = place
    name = NAMES.get(kind, kind) + (", one update" if act in PATHS[0] else "")
    what = "reset" if act.startswith("reset") else "left out" if act == LEFT_OUT else f"{term} removed"
    if act == RETRAINED or (act == LEFT_OUT and kind != "language"):
        what = "held back, retrained" if term == "all" else f"{what}, retrained"
    lines = [f"{name}:\n{what}" if narrow else f"{name}: {what}"]
    for row in rows:
        over = f"{row['updates']} updates: " if len(rows) > 1 else ""
        rho, slope = (_interval(row, key) for key in ("spearman", "slope"))
        lines.append(f"{over}$\\rho$ = {rho}, n = {row['count']}")
        lines.append(f"slope {slope}\n{row['verdict']}" if narrow else f"slope {slope}: {row['verdict']}")
    return "\n".join(lines)


def _interval(row: Mapping[str, Any], key: str) -> str:
    low, high = row[f"{key}_low"], row[f"{key}_high"]
    return f"{row[key]:.2f}" + ("" if pd.isna(low) else f" [{low:.2f}, {high:.2f}]")


def _panel(axes: Axes, term: str, part: pd.DataFrame, title: str, markers: Mapping[str, str]) -> None:
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
    axes.set_title(title, fontsize=6, loc="left", linespacing=1.2)
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
            label=_updates(bounds.start[window], bounds.stop[window] - 1),
            **style,
        )
        for window, marker in markers.items()
    ]
    figure.legend(handles=[*terms, *marks], loc="outside upper center", ncols=4)


def _updates(first: int, last: int) -> str:
    return f"update {first}" if first == last else f"updates {first}–{last}"
