"""The training run behind the checkpoints: loss of every batch, learning rate, and the held-out loss of every language."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from explaind.config.declarations import Figure
from explaind.figures.style import TERM_COLOURS, legend_below, new_figure, panel
from explaind.studies.growth import smooth

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="training",
    file="{experiment}_training",
    shows="loss of the language model by language",
    details="**a** batch loss and learning rate; **b** loss of each language on training text, means between checkpoints; "
    "**c** held-out loss of each language",
    caption="The training run whose checkpoints are explained: batch loss and learning rate (a), loss by language on "
    "training text (b) and on held-out text (c).",
    inputs={"metrics": "pretrain.metrics", "losses": "pretrain.losses"},
    options=("figure.dpi", "data.languages"),
    requires="checkpoints",
)

SMOOTHING = 9  # updates
APART = 0.03  # of the axis: names closer than this share a line


def draw(config: Mapping[str, Any], *, metrics: Path, losses: Path, stem: Path) -> None:
    """Draw the figure.

    Args:
        config: resolved configuration; read are `figure.dpi` and `data.languages`.
        metrics, losses: CSVs of `explaind.stages.pretrain`.
        stem: output path without its suffix.
    """
    run, table = pd.read_csv(metrics), pd.read_csv(losses, keep_default_na=False)
    trained = set(config["data"]["languages"])
    with new_figure(2.8, stem, config["figure"]["dpi"]) as figure:
        left, middle, right = figure.subplots(1, 3)
        left.plot(run.step, run.loss, color=TERM_COLOURS[0], alpha=0.25, linewidth=0.4)
        left.plot(run.step, smooth(run.loss.to_numpy(), SMOOTHING), color=TERM_COLOURS[0], label="batch loss")
        left.set_ylabel("loss (nats per token)")
        rate = left.twinx()
        rate.plot(run.step, run.lr, color=TERM_COLOURS[1], label="learning rate")
        rate.spines["right"].set_visible(True)
        rate.set_ylim(0, 2.2 * run.lr.max())
        rate.set_yticks([0, run.lr.max()], ["0", f"{run.lr.max():g}"])
        rate.set_ylabel("learning rate", color=TERM_COLOURS[1])
        panel(left, "a", "Training")
        shown = table[table.part == "train"]
        _languages(middle, shown, "Training text, by language", "b")
        heldout = table[table.part == "heldout"]
        _languages(right, heldout[heldout.language.isin(trained)], "Held-out text, by language", "c")
        _unseen(right, heldout[~heldout.language.isin(trained)])
        for axes, columns in ((middle, 2), (right, 2)):
            legend_below(axes, columns)
        for axes in (left, middle, right):
            axes.set_xlabel("training step")


def _languages(axes: Axes, table: pd.DataFrame, title: str, letter: str) -> None:
    """One thin line per language and their mean."""
    for index, (_, one) in enumerate(table.groupby("language")):
        axes.plot(
            one.step, one.loss, color="0.65", linewidth=0.5, label="one language" if index == 0 else None
        )
    mean = table.groupby("step").loss.mean()
    axes.plot(mean.index, mean, color=TERM_COLOURS[0], label="mean")
    panel(axes, letter, title)


def _unseen(axes: Axes, table: pd.DataFrame) -> None:
    """Languages that are held out only, named at their ends; names that would overlap share a line."""
    ends: list[tuple[float, float, list[str]]] = []
    for index, (name, one) in enumerate(table.groupby("language")):
        label = "not trained on" if index == 0 else None
        axes.plot(one.step, one.loss, color=TERM_COLOURS[1], linewidth=0.8, label=label)
        ends.append((float(one.loss.iloc[-1]), float(one.step.iloc[-1]), [str(name)]))
    low, high = axes.get_ylim()
    shown: list[tuple[float, float, list[str]]] = []
    for height, step, names in sorted(ends):
        if shown and height - shown[-1][0] < APART * (high - low):
            shown[-1][2].extend(names)
        else:
            shown.append((height, step, names))
    for height, step, names in shown:
        axes.annotate(
            " ".join(names), (step, height), (2, 0), textcoords="offset points", va="center", fontsize=5
        )
