"""What checkpoints alone say, against every update in between; and how well a batch's later momentum is extrapolated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from explaind.config.declarations import Figure
from explaind.figures.style import decades, legend_below, new_figure, panel
from explaind.figures.terms import COMPONENT_COLOURS

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="subsampling",
    file="{experiment}_subsampling",
    shows="checkpoints alone against every update",
    details="**a** scores summed over every update of an interval, and those of its first simulated update × the number of "
    "updates; **b** cosine between the two, over components at each depth; **c** a batch's contribution through later "
    "momentum, measured and extrapolated",
    caption="Checkpoints alone against every update: the sum over an interval and its first update times the number of "
    "updates (a), agreement of the patterns over components and depths (b), and a batch's later momentum as measured and as "
    "extrapolated from its own update (c).",
    inputs={"subsampling": "subsampling", "extrapolation": "extrapolation"},
    options=("figure.dpi",),
    requires="study.intervals",
)

TERMS = {"batch": "#000000", "momentum": "#0072B2", "regularization": "#D55E00"}


def draw(config: Mapping[str, Any], *, subsampling: Path, extrapolation: Path, stem: Path) -> None:
    """Draw the figure.

    Args:
        config: resolved configuration; read is `figure.dpi`.
        subsampling, extrapolation: the tables of these names.
        stem: output path without its suffix.
    """
    pairs, momentum = pd.read_csv(subsampling), pd.read_csv(extrapolation)
    with new_figure(3.2, stem, config["figure"]["dpi"]) as figure:
        left, middle, right = figure.subplots(1, 3)
        for term, colour in TERMS.items():
            one = pairs[pairs.term == term]
            left.plot(one.start, one.full, "o-", color=colour, markersize=2.5, label=term)
            left.plot(one.start, one.subsampled, "x--", color=colour, markersize=3, linewidth=0.7)
            middle.plot(one.start, one.cosine, "o-", color=colour, markersize=2.5, label=term)
        left.plot([], [], "o-", color="0.5", markersize=2.5, label="every update")
        left.plot([], [], "x--", color="0.5", markersize=3, linewidth=0.7, label="first × updates")
        left.axhline(0, color="0.3", linewidth=0.6, zorder=0)
        largest = float(pairs[["full", "subsampled"]].abs().to_numpy().max())
        left.set_yscale("symlog", linthresh=largest / 1e3)
        left.set_yticks(decades(largest, largest / 1e3))
        left.set_ylabel("change of the held-out loss\n(nats per token)")
        legend_below(left, 2)
        panel(left, "a", "Sum over an interval")
        middle.set_ylim(min(0.0, pairs.cosine[pairs.term.isin(TERMS)].min()) - 0.05, 1.05)
        middle.axhline(0, color="0.3", linewidth=0.6, zorder=0)
        middle.set_ylabel("cosine over components and depths")
        legend_below(middle, 2)
        panel(middle, "b", "Agreement in pattern")
        for axes in (left, middle):
            axes.set_xlabel("training step")
        _momentum(right, momentum)


def _momentum(axes: Axes, table: pd.DataFrame) -> None:
    """Extrapolated against measured, by component; on the diagonal they agree."""
    for name, colour in COMPONENT_COLOURS.items():
        one = table[table.component == name]
        axes.plot(one.measured, one.adjusted, "o", color=colour, markersize=3, label=name)
    one = table[table.component == "all"]
    axes.plot(one.measured, one.adjusted, "D", color="#000000", markersize=3, label="all")
    values = table[["measured", "adjusted"]].to_numpy()
    least = float(np.abs(values[values != 0]).min())
    limit = float(np.abs(values).max())
    axes.plot([-limit, limit], [-limit, limit], color="0.6", linewidth=0.6, zorder=0)
    threshold = max(least, limit / 1e3)
    for scale in (axes.set_xscale, axes.set_yscale):
        scale("symlog", linthresh=threshold)
    ticks = decades(limit, threshold)
    axes.set_yticks(ticks)
    axes.set_xticks([ticks[0], 0.0, ticks[-1]])  # a narrow panel: more labels would overlap
    axes.set_xlabel("measured (nats per token)")
    axes.set_ylabel("extrapolated")
    legend_below(axes, 2)
    panel(axes, "c", "A batch's later momentum")
