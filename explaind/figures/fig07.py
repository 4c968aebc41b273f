"""Figure 7: the linear datamodel score of data attribution methods against the fraction of the training set that is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from explaind.config.declarations import Figure
from explaind.figures.style import new_figure, panel

__all__ = ["FIGURE", "METHODS", "draw"]

FIGURE = Figure(
    label="7",
    file="fig07_lds",
    shows="data attribution against retrained models",
    details="linear datamodel score of each method by the fraction of the training set that models are trained on, with 95% "
    "bootstrap intervals; models of other seeds, and of the explained run's own seed",
    caption="**Figure 7.** Linear datamodel score: the rank correlation, over subsets of the training set, between what a "
    "method's scores predict for models trained on a subset and what such models output for the true class, averaged over "
    "test images. Bars: 95% bootstrap intervals over subsets and test images. Left of each pair: models of other seeds; "
    "right: models that share initial parameters and order with the explained run.",
    inputs={"lds": "lds"},
    options=("figure.dpi",),
    requires="study.datamodel",
    across=True,
)

METHODS = {  # method: name, colour, marker
    "explaind": ("ExPLAIND", "#000000", "o"),
    "trak": ("TRAK", "#0072B2", "s"),
    "tracin": ("TracIn", "#D55E00", "^"),
    "gradient_dot": ("gradient dot", "#009E73", "v"),
    "influence_function": ("influence function", "#CC79A7", "D"),
}


def draw(config: Mapping[str, Any], *, lds: Path, stem: Path) -> None:
    """Draw the figure: per experiment one panel for models of other seeds and one for the explained run's own seed.

    Args:
        config: `figure.dpi`, and `titles` of the experiments.
        lds: CSV of `explaind.tables.lds`; its order of experiments is that of the panels.
        stem: output path without its suffix.
    """
    table = pd.read_csv(lds, dtype={"fraction": str})
    shown = [
        (name, column, title)
        for name in table.experiment.unique()
        for column, title in (("lds", "other seeds"), ("lds_own_seed", "the explained seed"))
        if table[table.experiment == name][column].notna().any()
    ]
    fractions = {name: table[table.experiment == name].fraction.nunique() for name, _, _ in shown}
    with new_figure(2.9, stem, config["figure"]["dpi"]) as figure:
        widths = [max(3, fractions[name]) for name, _, _ in shown]
        grid = figure.subplots(1, len(shown), squeeze=False, width_ratios=widths)[0]
        for axes, letter, (name, column, title) in zip(grid, ascii_lowercase, shown, strict=False):
            _scores(axes, table[table.experiment == name], column)
            named = config["titles"].get(name, name).replace(", ", ",\n")  # panels may be narrow
            panel(axes, letter, f"{named},\n{title}")
        grid[0].set_ylabel("LDS (mean rank correlation)")
        figure.supxlabel("fraction of the training set", fontsize=8)
        handles, names = grid[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=len(names))


def _scores(axes: Axes, table: pd.DataFrame, column: str) -> None:
    fractions = list(dict.fromkeys(table.fraction))
    methods = [method for method in METHODS if method in set(table.method)]
    for number, method in enumerate(methods):
        name, colour, marker = METHODS[method]
        part = table[table.method == method].set_index("fraction").loc[fractions]
        x = np.arange(len(fractions)) + 0.08 * (number - (len(methods) - 1) / 2)
        low, high = (part[column.replace("lds", end)] for end in ("low", "high"))
        spread = np.stack([part[column] - low, high - part[column]]).clip(0)
        axes.errorbar(x, part[column], yerr=spread, color=colour, fmt="none", elinewidth=0.8, capsize=1.5)
        # Fractions are joined by a line; leaving one sample out is another question.
        joined = np.array([fraction != "leave-one-out" for fraction in fractions])
        axes.plot(x[joined], part[column][joined], color=colour, linewidth=0.8)
        axes.plot(x, part[column], marker, color=colour, markersize=3.5, label=name)
    axes.axhline(0, color="0.3", linewidth=0.6)
    axes.set_xticks(
        np.arange(len(fractions)), ["leave\none out" if f == "leave-one-out" else f for f in fractions]
    )
    axes.set_xlim(-0.5, len(fractions) - 0.5)
