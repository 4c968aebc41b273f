"""Figure 2: models of which only the most important parameters are kept, against the share that is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from explaind.config.declarations import Figure
from explaind.figures.style import new_figure, panel

__all__ = ["FIGURE", "METHODS", "draw"]

FIGURE = Figure(
    label="2",
    file="fig02_pruning",
    shows="accuracy, agreement and KL divergence of pruned models",
    details="models of which a share of the parameters is kept, chosen by importance or by other methods, the output layer "
    "always; below, with the initial values in place of zero for the rest; mean and 95% interval over random splits of the "
    "test set",
    caption="**Figure 2.** Models that keep only some of their parameters, by the method that chooses them; the output layer "
    "is always whole. Accuracy, agreement with the original model's predictions, and KL divergence from its distribution. "
    "Upper row: the rest is set to zero; lower row: to its initial values. Filters are removed step by step with retraining "
    "after each (Li et al., 2017; dashed: without); nothing else is retrained. Shaded: 95% intervals over random splits of "
    "the test set into samples for scores and samples for evaluation. Dotted: the original model.",
    inputs={"pruning": "pruning_methods"},
    options=("figure.dpi",),
    requires="study.pruning",
    across=True,
)  # fmt: skip

METHODS = {  # method: name, colour, marker, line
    "explaind": ("ExPLAIND", "#000000", "o", "-"),
    "filters": ("filters, retrained (Li et al.)", "#D55E00", "s", "-"),
    "filters_unretrained": ("filters, not retrained", "#D55E00", "s", "--"),
    "magnitude": ("magnitude", "#0072B2", "^", "-"),
    "change": ("size of change", "#56B4E9", "<", "-"),
    "gradient_weight": ("gradient × weight", "#009E73", "v", "-"),
    "snip": ("SNIP", "#CC79A7", "D", "-"),
    "fisher": ("Fisher", "#E69F00", "P", "-"),
    "random": ("random", "#888888", "x", "-"),
}
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
RESTS = {"zero": "rest zero", "initial": "rest initial"}
TITLES = {
    "accuracy": "accuracy",
    "agreement": "agreement",
    "kl": "KL (nats)",
}


def draw(config: Mapping[str, Any], *, pruning: Path, stem: Path) -> None:
    """Draw the figure: three panels for each experiment and intervention.

    Args:
        config: `figure.dpi`, and `titles` of the experiments.
        pruning: CSV of `explaind.tables.pruning_methods`.
        stem: output path without its suffix.
    """
    table = pd.read_csv(pruning)
    shown = [
        (name, rest, rows)
        for name in table.experiment.unique()
        for rest in RESTS
        if len(rows := table[(table.experiment == name) & (table.rest == rest)])
    ]
    letters = iter(ascii_lowercase)
    with new_figure(0.6 + 2.1 * len(shown), stem, config["figure"]["dpi"]) as figure:
        grid = figure.subplots(len(shown), 3, squeeze=False, sharex=True, sharey="col")
        for line, (name, rest, rows) in zip(grid, shown, strict=True):
            for axes, measure in zip(line, TITLES, strict=True):
                _curves(axes, rows, measure)
                panel(axes, next(letters), f"{config['titles'].get(name, name)}, {RESTS[rest]}")
                axes.set_ylabel(TITLES[measure])
        for axes in grid[-1]:
            axes.set_xlabel("share of parameters kept")
            axes.set_xlim(0.8 * table.kept.min(), 1.1)  # of all rows: they share the axis
        handles = {
            label: handle for axes in grid[:, 0] for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }  # fmt: skip
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=5)


def _curves(axes: Axes, table: pd.DataFrame, measure: str) -> None:
    """One measure of all methods, over the share that they really keep."""
    for method, (name, colour, marker, line) in METHODS.items():
        part = table[table.method == method].sort_values("kept")
        if part.empty:
            continue
        axes.plot(
            part.kept, part[measure], line, color=colour, marker=marker, markersize=2.8, linewidth=0.9, label=name
        )  # fmt: skip
        low, high = (part[f"{measure}_{end}"] for end in ("low", "high"))
        axes.fill_between(part.kept, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    if measure == "kl":
        axes.set_yscale("symlog", linthresh=0.01)
        axes.set_ylim(bottom=0)
        return
    axes.set_ylim(0, 1.03)
    if measure == "accuracy":
        axes.axhline(table.original.mean(), color="0.3", linewidth=0.7, linestyle=":", zorder=0)
