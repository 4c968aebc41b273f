"""Figure 3a for each choice of what is explained: importances on log-probabilities, logits and the true class, side by side.

The choices are explained at the same updates and tests; each has units of its own, so each column has its own scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from explaind.config.declarations import Figure
from explaind.figures.style import TERM_COLOURS, fit_after, layer_colour, mark_phases, new_figure
from explaind.store.files import read_json
from explaind.studies.choices import NAMES

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="3a, by output",
    file="fig03a_outputs",
    shows="figure 3a for each choice of the explained output",
    details="columns: log-probabilities of all outputs, logits, log-probability of the true class; rows: importance of kernel "
    "and regularization, kernel importance of each layer, their difference by layer, at every `study.outputs.stride`-th update. "
    "Axes fit the updates after the first 5%.",
    caption="**Figure 3a, by explained output.** As figure 3a, b to d, for log-probabilities of all outputs, logits of all "
    "outputs and the log-probability of the true class alone, at every few updates.",
    inputs={"importances": "importances", "phases": "phases"},
    options=("figure.dpi",),
    requires="study.outputs",
)

START = 0.05  # as in figure 3a


def draw(config: Mapping[str, Any], *, importances: Path, phases: Path, stem: Path) -> None:
    """Draw the figure.

    Args:
        config: resolved configuration; read is `figure.dpi`.
        importances: CSV of `explaind.studies.importances`.
        phases: JSON of the recorded run.
        stem: output path without its suffix.
    """
    table, run = pd.read_csv(importances), read_json(phases)
    choices = list(dict.fromkeys(table.choice))
    with new_figure(6.2, stem, config["figure"]["dpi"], width=2.5 * len(choices) + 0.5) as figure:
        grid = figure.subplots(3, len(choices), sharex=True, squeeze=False)
        for column, choice in zip(grid.T, choices, strict=True):
            rows = table[table.choice == choice]
            _column(column, rows)
            column[0].set_title(NAMES[choice], y=1.06)
            for axes in column:
                axes.set_xlim(0, run["steps"])
                mark_phases(axes, run, label=axes is grid[0, 0])
            column[2].set_xlabel("training step")
        names = ("importance", "kernel $B$ of each layer", "$B - B_{\\mathrm{reg}}$ of each layer")
        for axes, name in zip(grid[:, 0], names, strict=True):
            axes.set_ylabel(name)
        handles, labels = grid[1, 0].get_legend_handles_labels()
        grid[0, 0].legend(loc="upper center")
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), columnspacing=1.2)


def _column(column: Any, rows: pd.DataFrame) -> None:
    """The three panels of one choice."""
    total = rows[rows.layer == "all"].sort_values("step")
    layers = [name for name in dict.fromkeys(rows.layer) if name != "all"]
    terms = {"kernel $B$": total.kernel, "regularization $B_{\\mathrm{reg}}$": total.regularization}
    _curves(column[0], total.step, terms, list(TERM_COLOURS), bottom=0)
    each = {name: rows[rows.layer == name].sort_values("step") for name in layers}
    colours = [layer_colour(position) for position in range(len(layers))]
    _curves(column[1], total.step, {name: one.kernel for name, one in each.items()}, colours, bottom=0)
    difference = {name: one.kernel - one.regularization for name, one in each.items()}
    _curves(column[2], total.step, difference, colours)
    column[2].axhline(0, color="0.3", linewidth=0.6)


def _curves(
    axes: Axes,
    steps: pd.Series,
    curves: Mapping[str, pd.Series],
    colours: list[str],
    bottom: float | None = None,
) -> None:
    """Lines through the explained updates."""
    for (name, curve), colour in zip(curves.items(), colours, strict=True):
        axes.plot(steps, curve, color=colour, marker="o", markersize=1.4, linewidth=0.9, label=name)
    stacked = pd.concat([curve.reset_index(drop=True) for curve in curves.values()], axis=1).to_numpy().T
    fit_after(axes, steps.to_numpy(), stacked, START, bottom=bottom)
