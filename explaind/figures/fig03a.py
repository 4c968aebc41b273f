"""Figure 3a: accuracy, kernel against regularization, influence of each layer, and relative regularization influence.

All importances are B over every test sample and output, at every step (method.md, section 3), in the model's output units
(log-probability) summed over tests and outputs. The relative regularization influence of a layer is B − B_reg; it is shown
every `figure.regularization_stride` steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from explaind.config.declarations import Figure
from explaind.figures.style import TERM_COLOURS, fit_after, layer_colour, mark_phases, new_figure, panel
from explaind.store import read_dataset
from explaind.store.files import read_json
from explaind.studies.growth import smooth

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="3a",
    file="fig03a_influence",
    shows="influence per update and layer",
    details="**a** train and test accuracy; **b** importance of kernel and regularization at each step; **c** kernel "
    "importance of each layer at each step; **d** kernel minus regularization importance of each layer, every few steps "
    "(negative: regularization dominates). Dashed: memorised, generalised. Thick lines in b and c are a moving average over "
    "9 steps, thin ones every step. Axes fit the steps after the first 5%; a note names the value "
    "where earlier ones are cut off.",
    caption="**Figure 3a.** The run update by update: (i) accuracy on training and test samples; (ii) importance of the "
    "kernel (training samples) and of regularization; (iii) importance of the kernel by layer; (iv) importance of the kernel "
    "minus that of regularization by layer: below zero, regularization dominates. Importance sums the absolute influence "
    "over all test samples and outputs, training samples summed inside.",
    inputs={"influence": "accumulate", "metrics": "record.metrics", "phases": "phases"},
    options=("figure",),
    requires=("study.windows", "figure.regularization_stride"),
)

SMOOTHING = 9  # steps; single steps are drawn faintly behind
START = 0.05  # the importances of the first steps are so large that the axes leave out what only they reach


def draw(config: Mapping[str, Any], *, influence: Path, metrics: Path, phases: Path, stem: Path) -> None:
    """Draw the figure.

    Args:
        config: resolved configuration; read is `figure`.
        influence: store of kind "influence".
        metrics: CSV of the recorded run.
        phases: JSON of the recorded run.
        stem: output path without its suffix.
    """
    scores = read_dataset(influence, kind="influence")
    table, run = pd.read_csv(metrics), read_json(phases)
    steps = scores["step"].values
    layers = [str(name) for name in scores["layer"].values]
    with new_figure(4.6, stem, config["figure"]["dpi"]) as figure:
        grid = figure.subplots(2, 2, sharex=True)
        _accuracy(grid[0, 0], table)
        total = {
            "kernel $B$": scores["importance_kernel_all"].values,
            "regularization $B_{\\mathrm{reg}}$": scores["importance_regularization_all"].values,
        }
        _curves(grid[1, 0], steps, total, list(TERM_COLOURS))
        panel(grid[1, 0], "b", "Kernel and regularization")
        grid[1, 0].set_ylim(top=1.2 * grid[1, 0].get_ylim()[1])  # room for the legend above the curves
        grid[1, 0].legend(loc="upper right", ncols=2, columnspacing=1.2)
        each = {name: scores["importance_kernel"].sel(layer=name).values for name in layers}
        colours = [layer_colour(position) for position in range(len(layers))]
        _curves(grid[0, 1], steps, each, colours)
        panel(grid[0, 1], "c", "Kernel influence of each layer")
        _relative(grid[1, 1], scores, layers, colours, int(config["figure"]["regularization_stride"]))
        for axes in grid.flat:
            axes.set_xlim(0, len(steps))
            mark_phases(axes, run, label=axes is grid[0, 0])
        for axes in grid[1]:
            axes.set_xlabel("training step")
        handles, names = grid[0, 1].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(layers), columnspacing=1.2)


def _accuracy(axes: Axes, table: pd.DataFrame) -> None:
    """Panel a: accuracy before each update."""
    for column, name, colour in zip(
        ("train_accuracy", "test_accuracy"), ("train", "test"), TERM_COLOURS, strict=True
    ):
        axes.plot(table.step, table[column], color=colour, label=name)
    axes.set_ylabel("accuracy")
    axes.set_ylim(-0.02, 1.04)
    axes.legend(loc="best")
    panel(axes, "a", "Accuracy")


def _curves(axes: Axes, steps: np.ndarray, curves: Mapping[str, np.ndarray], colours: list[str]) -> None:
    """Importances per step: every step faintly, a short moving average in front."""
    for (name, curve), colour in zip(curves.items(), colours, strict=True):
        axes.plot(steps, curve, color=colour, alpha=0.25, linewidth=0.4)
        axes.plot(steps, smooth(curve, SMOOTHING), color=colour, label=name)
    axes.set_ylabel(f"importance per step\n(mean over {SMOOTHING} steps)")
    fit_after(axes, steps, np.stack(list(curves.values())), START, bottom=0)


def _relative(axes: Axes, scores: Any, layers: list[str], colours: list[str], stride: int) -> None:
    """Panel d: B − B_reg of each layer every `stride` steps; below zero regularization dominates."""
    kept = scores.isel(step=slice(0, None, stride))
    difference = kept["importance_kernel"] - kept["importance_regularization"]
    for name, colour in zip(layers, colours, strict=True):
        axes.plot(
            kept["step"], difference.sel(layer=name), color=colour, marker="o", markersize=1.6, linewidth=0.9
        )
    axes.axhline(0, color="0.3", linewidth=0.6)
    axes.set_ylabel("$B - B_{\\mathrm{reg}}$ per step")
    fit_after(axes, kept["step"].values, difference.transpose("layer", "step").values, START)
    panel(axes, "d", f"Relative regularization, every {stride} steps")
