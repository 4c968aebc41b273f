"""Figure 8: fidelity of a decomposition that keeps some of the steps, against the share of steps kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from explaind.config.declarations import Figure
from explaind.figures.style import new_figure, panel

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="8",
    file="fig08_sparse",
    shows="fidelity by share of steps kept",
    details="predictions rebuilt from a share of the updates, chosen in three ways; shaded: 95% of the random orders",
    caption="**Figure 8.** Predictions rebuilt from a share of the updates: agreement with the model and KL divergence, for "
    "three ways to choose the updates.",
    inputs={"sparse": "sparse"},
    options=("figure.dpi",),
    requires="study.sparse",
)

COLOURS = {"held-out loss": "#000000", "contribution": "#D55E00", "random": "#0072B2"}
NAMES = {
    "held-out loss": "largest change of held-out loss (paper)",
    "contribution": "largest contribution",
    "random": "random (95% of the orders)",
}


def draw(config: Mapping[str, Any], *, sparse: Path, stem: Path) -> None:
    """Draw the figure.

    Args:
        config: resolved configuration; read is `figure.dpi`.
        sparse: CSV of the study.
        stem: output path without its suffix.
    """
    table = pd.read_csv(sparse)
    with new_figure(2.6, stem, config["figure"]["dpi"]) as figure:
        pair = figure.subplots(1, 2)
        for axes, measure, letter, title in (
            (pair[0], "agreement", "a", "Agreement with the model's predictions"),
            (pair[1], "kl", "b", "KL divergence from the model's distribution"),
        ):
            for ranking, colour in COLOURS.items():
                groups = table[table.ranking == ranking].groupby("share")[measure]
                middle = groups.median()
                axes.plot(middle.index, middle, "o-", color=colour, markersize=2.5, label=NAMES[ranking])
                if groups.size().max() > 1:
                    low, high = groups.quantile(0.025), groups.quantile(0.975)
                    axes.fill_between(middle.index, low, high, color=colour, alpha=0.18, linewidth=0)
            axes.set_xlabel("share of steps kept")
            panel(axes, letter, title)
        pair[0].set_ylabel("agreement")
        pair[0].set_ylim(top=1.02)
        pair[1].set_ylabel("KL (nats)")
        pair[1].set_yscale("symlog", linthresh=0.01)
        pair[1].set_ylim(bottom=0)
        handles, names = pair[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3)
