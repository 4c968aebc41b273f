"""Figure 11: accuracy of new networks that start with layers of the run, for every combination of layers and checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from explaind.config.declarations import Figure
from explaind.figures.style import new_figure, panel
from explaind.studies.generalization import mean_curve

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="11",
    file="fig11_transplants",
    shows="training from layers of every checkpoint",
    details="as figure 3b, for every combination of layers (panels) and checkpoint (colours): test accuracy, "
    "mean over seeds with its 95% interval, and train accuracy (dotted). Trainings end early once all seeds have generalised",
    caption="**Figure 11.** Test accuracy (lines, with 95% intervals over seeds) and train accuracy (dotted) of "
    "new networks that start with layers of the explained run, by combination of layers and checkpoint.",
    inputs={"curves": "transplants.curves"},
    options=("figure.dpi", "study.transplant.layers"),
    requires="study.transplant",
)

ACROSS = 3  # panels in a row
CONTROL = "0.6"


def draw(config: Mapping[str, Any], *, curves: Path, stem: Path) -> None:
    """Draw the figure: one panel per combination that takes layers, with the control in each.

    Args:
        config: `figure.dpi`; `study.transplant.layers`.
        curves: CSV of the trainings' accuracies.
        stem: output path without its suffix.
    """
    table = pd.read_csv(curves)
    layers = config["study"]["transplant"]["layers"]
    taken = [name for name in layers if layers[name] and name in set(table.combination)]
    without = table[table.combination.map(lambda name: not layers[name])]
    some = table[table.combination.isin(taken)]
    checkpoints = some[["checkpoint_step", "checkpoint"]].drop_duplicates().sort_values("checkpoint_step")
    colours = _colours([int(step) for step in checkpoints.checkpoint_step])
    rows = math.ceil(len(taken) / ACROSS)
    with new_figure(0.5 + 1.75 * rows, stem, config["figure"]["dpi"]) as figure:
        grid = figure.subplots(rows, ACROSS, sharex=True, sharey=True, squeeze=False).ravel()
        for axes in grid[len(taken) :]:
            axes.remove()
        for axes, letter, name in zip(grid, ascii_lowercase, taken, strict=False):
            if len(without):
                _training(axes, without, CONTROL)
            for step, part in table[table.combination == name].groupby("checkpoint_step"):
                _training(axes, part, colours[int(step)])
            panel(axes, letter, _two_lines(layers[name]))
            axes.tick_params(labelbottom=True)
        grid[0].set_ylim(-0.02, 1.04)
        grid[0].set_xlim(0, table["update"].max())
        figure.supylabel("accuracy", fontsize=8)
        figure.supxlabel("training step of the new network", fontsize=8)
        handles = [Line2D([], [], color=colours[int(step)]) for step in checkpoints.checkpoint_step]
        names = [
            name if str(step) == name else f"{name} ({step})"
            for step, name in checkpoints.itertuples(index=False)
        ]
        if len(without):
            handles, names = [*handles, Line2D([], [], color=CONTROL)], [*names, "no layers: control"]
        figure.legend(
            handles,
            names,
            loc="outside upper center",
            ncols=min(len(names), 4),
            title="layers of checkpoint (step)",
        )


def _training(axes: Axes, part: pd.DataFrame, colour: Any) -> None:
    test, train = (mean_curve(part, column) for column in ("test_accuracy", "train_accuracy"))
    axes.fill_between(test.index, test.low, test.high, color=colour, alpha=0.25, linewidth=0)
    axes.plot(test.index, test["mean"], color=colour)
    axes.plot(train.index, train["mean"], ":", color=colour, linewidth=0.8)


def _colours(steps: list[int]) -> dict[int, Any]:
    """From the first checkpoint (light) to the last (dark)."""
    shades = mpl.colormaps["viridis_r"].resampled(256)
    return {step: shades(0.15 + 0.85 * (place + 1) / len(steps)) for place, step in enumerate(steps)}


def _two_lines(layers: list[str]) -> str:
    """The layers' names, broken in the middle where there are many."""
    if len(layers) < 3:
        return ", ".join(layers)
    half = (len(layers) + 1) // 2
    return f"{', '.join(layers[:half])},\n     {', '.join(layers[half:])}"
