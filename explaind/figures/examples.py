"""Predictions decomposed by training images: the most helpful and the most harmful ones, with scores that add up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from explaind.config.declarations import Figure
from explaind.experiments.experiment import Experiment
from explaind.experiments.images import as_pixels
from explaind.experiments.runs import open_run
from explaind.figures.style import WIDTH, new_figure
from explaind.figures.waterfall import waterfall

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="{experiment}",
    file="examples_{experiment}",
    shows="helpful and harmful training images",
    details="test images, half of them misclassified, with the training images that raised and lowered the log-probability "
    "of their true class most, and the bars that add up to the final one",
    caption="**Examples.** Test images, the training images that raised and lowered the log-probability of their true class "
    "most over the whole run, and the sum of everything: initial + helpful + harmful + other samples + regularization + "
    "residual = final. Titles: class and contribution.",
    inputs={"examples": "contributions", "trajectory": "record.trajectory"},
    options=("figure.dpi", "data"),
    requires="study.examples",
)

COLOURS = {"helpful": "#D55E00", "harmful": "#0072B2"}
NAMES = {
    "helpful": "top helpful",
    "harmful": "top harmful",
    "rest": "other samples",
    "regularization": "regularization",
    "carried": "earlier momentum",
    "residual": "residual",
}
# Inches: a picture, the space between two, the titles above it, a row, the head of the figure, and where the bars begin and end.
PICTURE, GAP, TITLE, ROW, HEAD, BARS = 0.34, 0.06, 0.24, 0.98, 0.22, (4.75, 5.75)


def draw(config: Mapping[str, Any], *, examples: Path, trajectory: Path, stem: Path) -> None:
    """Draw the figure.

    Args:
        config: resolved configuration; read are `figure.dpi` and `data.{mean,std}`.
        examples: CSV of the study.
        trajectory: the recorded run, whose experiment holds the images.
        stem: output path without its suffix.
    """
    table = pd.read_csv(examples)
    _, experiment = open_run(trajectory)
    tests = table.test.unique()
    height = HEAD + ROW * len(tests) + 0.25
    top = int(table["rank"].max())
    columns = {
        "test": 0.02,
        "helpful": 0.02 + 1.6 * PICTURE,
        "harmful": 0.02 + 1.8 * PICTURE + top * (PICTURE + GAP),
    }
    with new_figure(height, stem, config["figure"]["dpi"]) as figure:
        figure.set_layout_engine("none")

        def place(x: float, row: int, width: float = PICTURE, tall: float = PICTURE) -> Axes:
            y = height - HEAD - ROW * row - TITLE - tall
            return figure.add_axes((x / WIDTH, y / height, width / WIDTH, tall / height))

        for number, test in enumerate(tests):
            part = table[table.test == test]
            axes = place(columns["test"], number)
            _picture(axes, config, experiment.test[0][test])
            label, predicted = (_name(experiment, part.iloc[0][key]) for key in ("label", "predicted"))
            axes.set_title(f"{label}\n→ {predicted}", fontsize=5.5, pad=2)
            for side, colour in COLOURS.items():
                for one in part[part.part == side].itertuples():
                    axes = place(columns[side] + (one.rank - 1) * (PICTURE + GAP), number)
                    _picture(axes, config, experiment.train[0][int(one.train)], colour)
                    axes.set_title(
                        f"{_name(experiment, one.train_label)}\n{one.score:+.2g}", fontsize=5.5, pad=2
                    )
            _sum(
                place(BARS[0], number, BARS[1] - BARS[0], ROW - TITLE - 0.12),
                part,
                last=number == len(tests) - 1,
            )
        heads = {
            "test": "test",
            "helpful": "most helpful training images",
            "harmful": "most harmful training images",
        }
        for side, words in heads.items():
            figure.text(
                columns[side] / WIDTH,
                1 - 0.04 / height,
                words,
                fontsize=6.5,
                weight="bold",
                va="top",
                color=COLOURS.get(side, "k"),
            )
        figure.text(
            BARS[0] / WIDTH,
            1 - 0.04 / height,
            "what adds up to the prediction",
            fontsize=6.5,
            weight="bold",
            va="top",
        )


def _picture(axes: Axes, config: Mapping[str, Any], inputs: Any, colour: str | None = None) -> None:
    pixels = as_pixels(inputs, config["data"]).permute(1, 2, 0).numpy()
    axes.imshow(
        pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels,
        cmap="gray",
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=colour is not None, color=colour or "k", linewidth=1.2)


def _sum(axes: Axes, part: pd.DataFrame, *, last: bool) -> None:
    """From the initial to the final log-probability, one bar per term."""
    totals = part.groupby("part").score.sum()
    terms = {NAMES[name]: float(totals[name]) for name in NAMES if name in totals.index}
    own = {NAMES[side]: colour for side, colour in COLOURS.items()}
    parts = {"initial": float(totals["initial"]), **terms, "final": float(totals["final"])}
    waterfall(axes, parts, colours=own, size=5.5)
    if last:
        axes.set_xlabel("log-probability of the true class", fontsize=5.5)


def _name(experiment: Experiment, label: float) -> str:
    return experiment.names[int(label)] if experiment.names else str(int(label))
