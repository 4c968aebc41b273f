"""Power of every frequency over training, in rows of parameters that belong to numbers and in the logits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.image import AxesImage

from explaind.config.declarations import Figure
from explaind.figures.style import LAYER_COLOURS, TERM_COLOURS, mark_phases, new_figure, panel
from explaind.store.files import read_json
from explaind.studies.spectrum import summarise

__all__ = ["FIGURE", "draw", "share_map"]

FIGURE = Figure(
    label="frequencies",
    file="frequencies_over_training",
    shows="power of every frequency over training",
    details="share of each frequency k (whole cycles in p labels) in the power of the logits as a function of the distance from "
    "the label, and of the rows of parameters that belong to numbers; white: mean frequency, which is (p+1)/4 for noise "
    "(dotted). Below: the effective number of frequencies. Dashed: memorised, generalised.",
    caption="**Frequencies over training.** Share of each frequency in the power of parameters and logits (colour), and the mean "
    "frequency (line). Dotted: the mean frequency of noise. Below: effective number of frequencies, 1/Σ share².",
    inputs={"frequencies": "frequencies", "phases": "phases"},
    options=("figure.dpi",),
    requires=("study.frequencies", "data.modulus"),
)

LOWEST = 1e-3  # shares below are shown like this one


def draw(config: Mapping[str, Any], *, frequencies: Path, phases: Path, stem: Path) -> None:
    """Draw the figure.

    Args:
        config: resolved configuration; read is `figure.dpi`.
        frequencies: CSV of `explaind.studies.frequencies`.
        phases: JSON of the recorded run.
        stem: output path without its suffix.
    """
    table, run = pd.read_csv(frequencies), read_json(phases)
    quantities = list(dict.fromkeys(table.quantity))
    summary = summarise(table)
    with new_figure(2.0 * len(quantities) + 1.6, stem, config["figure"]["dpi"]) as figure:
        column = figure.subplots(
            len(quantities) + 1, 1, sharex=True, height_ratios=[2] * len(quantities) + [1.3]
        )
        for position, (axes, quantity) in enumerate(zip(column[:-1], quantities, strict=True)):
            chosen = (each[each.quantity == quantity] for each in (table, summary))
            image = share_map(axes, *chosen, run)
            axes.set_ylabel("frequency $k$")
            panel(axes, "abcdefgh"[position], quantity)
        figure.colorbar(image, ax=column[:-1], label="share of the power", extend="min", pad=0.01, aspect=40)
        for quantity, colour in zip(quantities, (*TERM_COLOURS, *LAYER_COLOURS), strict=False):
            rows = summary[summary.quantity == quantity]
            column[-1].plot(rows.step, rows.effective_frequencies, color=colour, label=quantity)
        column[-1].set(yscale="log", ylabel="effective number\nof frequencies", xlabel="training step")
        column[-1].legend(loc="lower left")
        mark_phases(column[-1], run, label=True)
        panel(column[-1], "abcdefgh"[len(quantities)], "How many frequencies share the power")


def share_map(axes: Axes, rows: pd.DataFrame, summary: pd.DataFrame, phases: Mapping[str, Any]) -> AxesImage:
    """Shares by frequency and update, and their mean frequency; memorised and generalised are marked.

    Args:
        axes: where.
        rows: of one quantity, columns of `explaind.studies.frequencies`.
        summary: of these rows (`explaind.studies.spectrum.summarise`).
        phases: of the run.
    """
    shares = rows.pivot(index="frequency", columns="step", values="share")
    image = axes.pcolormesh(
        shares.columns,
        shares.index,
        shares.clip(lower=LOWEST),
        norm=LogNorm(LOWEST, 1),
        cmap="viridis",
        shading="nearest",
        rasterized=True,
    )
    axes.plot(summary.step, summary.mean_frequency, color="white", linewidth=1.4)
    axes.axhline((len(shares) + 1) / 2, color="white", linewidth=0.8, linestyle=":")
    for key in ("memorization_step", "generalization_step"):
        if phases[key] is not None:
            axes.axvline(phases[key], color="white", linewidth=0.7, linestyle=(0, (4, 2)))
    return image
