"""Figure 10: confusion matrices of two checkpoints, as they are and with outer layers of the last one, and their errors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm

from explaind.config.declarations import Figure
from explaind.figures.style import TERM_COLOURS, new_figure, panel
from explaind.store import read_dataset
from explaind.studies.swap import ORIGINAL

__all__ = ["FIGURE", "confusion", "draw"]

FIGURE = Figure(
    label="10",
    file="fig10_confusion",
    shows="confusion matrices before and after a swap of layers",
    details="share of the tests of each label (rows) that are given each prediction (columns), at two "
    "checkpoints: as they are, and with the layers of `study.swap.combination` of the last checkpoint; colours "
    "by the square root of the "
    "share. Right: share of the tests whose prediction is off by each label difference, modulo `data.modulus` "
    "(0, right, is left out)",
    caption="**Figure 10.** Confusion matrices of two checkpoints as they are and with the last checkpoint's "
    "outer layers, and the errors by label difference: cyclic off-diagonals.",
    inputs={"swap": "swap", "errors": "swap_errors"},
    options=("figure.dpi", "data.modulus", "study.transplant.layers", "study.swap.combination"),
    requires=("study.swap", "data.modulus"),
)


def draw(config: Mapping[str, Any], *, swap: Path, errors: Path, stem: Path) -> None:
    """Draw the figure: a row per checkpoint.

    Args:
        config: `figure.dpi`; `data.modulus`; `study.transplant.layers`; `study.swap.combination`.
        swap: store of kind "swap".
        errors: CSV of the errors by label difference.
        stem: output path without its suffix.
    """
    result, table = read_dataset(swap, kind="swap"), pd.read_csv(errors)
    modulus, combination = config["data"]["modulus"], config["study"]["swap"]["combination"]
    labels, shown = result["labels"].values, result.attrs["shown"]
    letters = iter(ascii_lowercase)
    with new_figure(0.6 + 2.3 * len(shown), stem, config["figure"]["dpi"]) as figure:
        grid = figure.subplots(len(shown), 3, width_ratios=(1, 1, 1.1), squeeze=False)
        for row, (name, step) in zip(grid, shown.items(), strict=True):
            title = f"step {step}" if name == str(step) else f"{name} (step {step})"
            for axes, one, state in zip(row, (ORIGINAL, combination), ("as it is", "swapped"), strict=False):
                predicted = result["predicted"].sel(combination=one, step=step).values
                image = axes.imshow(
                    confusion(predicted, labels, modulus),
                    norm=PowerNorm(0.5, vmin=0, vmax=1),
                    cmap="magma_r",
                    interpolation="nearest",
                )
                accuracy = float((predicted == labels).mean())
                panel(axes, next(letters), f"{title},\n     {state}: {accuracy:.1%} right")
                axes.set_xlabel("prediction")
            row[0].set_ylabel("label")
            _differences(row[2], table[table.step == step], len(labels))
            panel(row[2], next(letters), "Errors by label difference:\n     as it is (up), swapped (down)")
        bar = figure.colorbar(image, ax=grid[:, :2], location="bottom", shrink=0.5, aspect=40, pad=0.02)
        bar.set_label("share of the label's tests")
        layers = ", ".join(config["study"]["transplant"]["layers"][combination])
        figure.suptitle(f"Swapped in from the last checkpoint: {layers}", fontsize=8)


def confusion(predicted: np.ndarray, labels: np.ndarray, modulus: int) -> np.ndarray:
    """Shares [p, p] of the tests of each label (rows) with each prediction (columns); rows of labels without tests are 0.

    Predictions [n] that are no label 0…p − 1 are in no column.
    """
    number = predicted < modulus
    counts = np.zeros((modulus, modulus))
    np.add.at(counts, (labels[number], predicted[number]), 1)
    return counts / np.maximum(np.bincount(labels, minlength=modulus)[:, None], 1)


def _differences(axes: Axes, table: pd.DataFrame, tests: int) -> None:
    """Share of all tests with each label difference, original above the line and swapped below it."""
    rows = table[table.difference != "none"]
    place = rows.difference.astype(int)
    for state, colour, sign in zip(("original", "swapped"), TERM_COLOURS, (1, -1), strict=True):
        axes.bar(place, sign * rows[f"{state}_errors"] / tests, width=1, color=colour)
    axes.axhline(0, color="0.3", linewidth=0.6)
    largest = 1.15 * float(rows[["original_errors", "swapped_errors"]].to_numpy().max()) / tests or 1.0
    axes.set_ylim(-largest, largest)
    axes.yaxis.set_major_formatter(
        lambda value, _: f"{abs(value):.0%}" if largest > 0.05 else f"{abs(value):.1%}"
    )
    axes.set_xlabel(f"(prediction − label) modulo {int(place.max()) + 1}")
    axes.set_ylabel("share of the tests")
