"""Figure 3b: accuracy of new networks that start with some layers of the explained run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from explaind.config.declarations import Figure
from explaind.figures.style import TERM_COLOURS, new_figure, panel
from explaind.studies.generalization import mean_curve

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="3b",
    file="fig03b_transplants",
    shows="training from layers of the run",
    details="train and test accuracy of networks that start with the layers named above each panel, taken from the last "
    "checkpoint; all other parameters are drawn anew. Thick: mean over seeds, with its 95% interval (Student's t); thin: every "
    "seed; dashed: mean of the control, in which all parameters are new",
    caption="**Figure 3b.** Accuracy of new networks that start with some layers of the explained run's last checkpoint, and of "
    "networks without any. Mean over seeds with 95% interval.",
    inputs={"curves": "transplants.curves"},
    options=("figure.dpi", "study.transplant.layers", "study.transplant.shown"),
    requires="study.transplant.checkpoints.nothing",
)

COLUMNS = (("train_accuracy", "train"), ("test_accuracy", "test"))


def draw(config: Mapping[str, Any], *, curves: Path, stem: Path) -> None:
    """Draw the figure: one panel per combination that is shown.

    Args:
        config: `figure.dpi`; `study.transplant.{layers,shown}`.
        curves: CSV of the trainings' accuracies.
        stem: output path without its suffix.
    """
    table = pd.read_csv(curves)
    options = config["study"]["transplant"]
    control = _last(table, "nothing")
    with new_figure(2.5, stem, config["figure"]["dpi"]) as figure:
        grid = figure.subplots(1, len(options["shown"]), sharex=True, sharey=True, squeeze=False)[0]
        for axes, letter, name in zip(grid, ascii_lowercase, options["shown"], strict=False):
            part = _last(table, name)
            _accuracies(axes, part, control)
            step = int(part.checkpoint_step.iloc[0])
            panel(axes, letter, f"{', '.join(options['layers'][name])}\n     of step {step}")
            axes.set_xlabel("training step of the new network")
        grid[0].set_ylabel("accuracy")
        grid[0].set_ylim(-0.02, 1.04)
        grid[0].set_xlim(0, table["update"].max())
        handles, names = grid[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names))


def _accuracies(axes: Axes, part: pd.DataFrame, control: pd.DataFrame) -> None:
    for (column, name), colour in zip(COLUMNS, TERM_COLOURS, strict=True):
        for _, seed in part.groupby("seed"):
            axes.plot(seed["update"], seed[column], color=colour, alpha=0.35, linewidth=0.4)
        curve = mean_curve(part, column)
        axes.fill_between(curve.index, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(curve.index, curve["mean"], color=colour, label=name)
    for (column, name), colour in zip(COLUMNS, TERM_COLOURS, strict=True):
        curve = mean_curve(control, column)
        axes.plot(curve.index, curve["mean"], "--", color=colour, linewidth=0.8, label=f"{name}, control")


def _last(table: pd.DataFrame, combination: str) -> pd.DataFrame:
    """The training from the last of a combination's checkpoints."""
    part = table[table.combination == combination]
    return part[part.checkpoint_step == part.checkpoint_step.max()]
