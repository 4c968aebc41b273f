"""Figure 12 for each choice of what is explained, on whole periods and on frequencies (Lasso coefficients of cosines)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from explaind.config.declarations import Figure
from explaind.figures.style import LAYER_COLOURS, new_figure
from explaind.studies.choices import LABELS

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="12, by output",
    file="fig12_outputs",
    shows="figure 12 for each choice of the explained output, on periods and frequencies",
    details="Lasso coefficients of cosines of the label difference for the late window's decoder similarity: left on whole "
    "periods, as published, right on frequencies k/p (whole cycles); first row: the published window, all of its updates. The "
    "mean similarity is subtracted first.",
    caption="**Figure 12, by explained output.** Lasso coefficients of cosines of the label difference, on periods of whole "
    "labels (left) and on frequencies of whole cycles in p labels (right). Equal coefficients on all frequencies are an "
    "indicator of equal labels.",
    inputs={"spectra": "spectra"},
    options=("data.modulus", "figure.dpi"),
    requires=("study.periodicity", "study.outputs", "data.modulus"),
)

LABELLED = 4  # the largest coefficients are named
APART = 0.04  # of the axis, between two names


def draw(config: Mapping[str, Any], *, spectra: Path, stem: Path) -> None:
    """Draw the figure: rows are choices, columns bases.

    Args:
        config: resolved configuration; read are `data.modulus` and `figure.dpi`.
        spectra: CSV of `explaind.studies.spectra`.
        stem: output path without its suffix.
    """
    table, modulus = pd.read_csv(spectra), int(config["data"]["modulus"])
    choices = list(dict.fromkeys(table.choice))
    axis = {"period": "period (labels)", "frequency": f"frequency $k$ (cycles in {modulus} labels)"}
    with new_figure(1.6 * len(choices) + 0.5, stem, config["figure"]["dpi"]) as figure:
        grid = figure.subplots(len(choices), 2, sharex="col", squeeze=False)
        for row, choice in zip(grid, choices, strict=True):
            for axes, basis in zip(row, axis, strict=True):
                _coefficients(axes, table[(table.choice == choice) & (table.basis == basis)])
            row[0].set_ylabel(f"{LABELS.get(choice, 'as published')}\ncoefficient")
        for axes, name in zip(grid[-1], axis.values(), strict=True):
            axes.set_xlabel(name)


def _coefficients(axes: Axes, rows: pd.DataFrame) -> None:
    """Stems of the cosines; the largest are named, and the numbers of those that are not zero stand above."""
    cosines, sines = rows[rows.kind == "cos"], rows[rows.kind == "sin"]
    axes.vlines(cosines.number, 0, cosines.coefficient, color=LAYER_COLOURS[0], linewidth=1.4)
    axes.axhline(0, color="0.3", linewidth=0.6)
    kept, others = cosines[cosines.coefficient != 0], int((sines.coefficient != 0).sum())
    axes.set_title(f"{len(kept)} of {len(cosines)} cosines, {others} sines are not zero", fontsize=7)
    largest = kept.reindex(kept.coefficient.abs().sort_values(ascending=False).index).head(LABELLED)
    named: list[float] = []
    for one in largest.itertuples():
        if any(abs(one.number - other) < APART * len(cosines) for other in named):
            continue  # its name would cover another
        named.append(one.number)
        above = one.coefficient > 0
        axes.annotate(
            f"{one.number}", (one.number, one.coefficient), (0, 2 if above else -2), textcoords="offset points",
            ha="center", va="bottom" if above else "top", fontsize=6,
        )  # fmt: skip
    axes.margins(y=0.2)
