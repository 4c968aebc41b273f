"""Figure 12: which periods explain the decoder's similarity in the last window (Lasso coefficients)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from explaind.config.declarations import Figure
from explaind.figures.style import LAYER_COLOURS, new_figure, panel

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="12",
    file="fig12_lasso",
    shows="periods of the similarity",
    details="Lasso coefficients of the late window's decoder similarity, by period",
    caption="**Figure 12.** Lasso coefficients of cosines and sines of the label difference that explain the decoder's "
    "similarity in the last window.",
    inputs={"periodicity": "periodicity"},
    options=("figure.dpi",),
    requires="study.periodicity",
)

LABELLED = 5  # the largest coefficients are named


def draw(config: Mapping[str, Any], *, periodicity: Path, stem: Path) -> None:
    """Draw the figure.

    Args:
        config: resolved configuration; read is `figure.dpi`.
        periodicity: CSV of the study: `kind`, `period`, `coefficient`.
        stem: output path without its suffix.
    """
    table = pd.read_csv(periodicity)
    colours = {"cos": LAYER_COLOURS[0], "sin": LAYER_COLOURS[4]}
    with new_figure(3.6, stem, config["figure"]["dpi"]) as figure:
        pair = figure.subplots(2, 1, sharex=True, sharey=True)
        for axes, (kind, name), letter in zip(
            pair, (("cos", "Cosines"), ("sin", "Sines")), "ab", strict=True
        ):
            part = table[table.kind == kind]
            axes.vlines(part.period, 0, part.coefficient, color=colours[kind], linewidth=1.6)
            nonzero = part[part.coefficient != 0]
            axes.plot(nonzero.period, nonzero.coefficient, "o", color=colours[kind], markersize=2.5)
            axes.axhline(0, color="0.3", linewidth=0.6)
            axes.set_ylabel("coefficient")
            panel(
                axes,
                letter,
                f"{name} of $2\\pi\\,(y_i-y_j)/$period: {len(nonzero)} of {len(part)} are not zero",
            )
            largest = nonzero.reindex(nonzero.coefficient.abs().sort_values(ascending=False).index).head(
                LABELLED
            )
            for row in largest.itertuples():
                above = row.coefficient > 0
                axes.annotate(
                    f"{row.period}", (row.period, row.coefficient), (0, 3 if above else -3), textcoords="offset points",
                    ha="center", va="bottom" if above else "top", fontsize=6.5,
                )  # fmt: skip
        for axes in pair:  # room for the labels; both, as they share the axis
            axes.margins(y=0.15)
        pair[1].set_xlabel("period (in labels)")
        pair[1].set_xlim(table.period.min() - 2, table.period.max() + 2)
