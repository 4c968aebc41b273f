"""Predictions taken apart by training images: the most helpful and the most harmful ones, with scores that add up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from explaind.attribution.stage import open_run
from explaind.experiments import Experiment
from explaind.experiments.images import as_pixels
from explaind.figures.style import new_figure

__all__ = ["draw"]

COLOURS = {"helpful": "#D55E00", "harmful": "#0072B2"}
NAMES = {
    "initial": "initial",
    "helpful": "top helpful",
    "harmful": "top harmful",
    "rest": "other samples",
    "regularization": "regularization",
    "carried": "earlier momentum",
    "residual": "residual",
    "final": "final",
}
HEIGHT = 1.3  # inches of one prediction


def draw(config: Mapping[str, Any], examples: Path, trajectory: Path, *, stem: Path) -> None:
    """Draw the figure.

    Args:
        config: resolved configuration; read are `figure.dpi` and `data.{mean,std}`.
        examples: CSV of the study.
        trajectory: the recorded run, whose experiment holds the images.
        stem: output path without its suffix.
    """
    table = pd.read_csv(examples)
    _, experiment = open_run(trajectory)
    top = int(table["rank"].max())
    tests = table.test.unique()
    with new_figure(HEIGHT * len(tests) + 0.2, stem, config["figure"]["dpi"]) as figure:
        widths = [1.0] * (1 + 2 * top) + [4.2]
        grid = figure.subplots(len(tests), 2 + 2 * top, squeeze=False, width_ratios=widths)
        for row, test in zip(grid, tests, strict=True):
            part = table[table.test == test]
            _picture(row[0], experiment, config, experiment.test[0][test])
            first = part.iloc[0]
            row[0].set_title(f"{_name(experiment, first.label)}\n→ {_name(experiment, first.predicted)}", fontsize=6.5)
            for offset, side in ((1, "helpful"), (1 + top, "harmful")):
                for axes, one in zip(row[offset : offset + top], part[part.part == side].itertuples(), strict=True):
                    _picture(axes, experiment, config, experiment.train[0][int(one.train)], COLOURS[side])
                    axes.set_title(f"{_name(experiment, one.train_label)}\n{one.score:+.3g}", fontsize=6.5)
            _sum(row[-1], part)
        grid[0, 0].annotate("test image", (0.5, 1.55), xycoords="axes fraction", ha="center", fontsize=7, weight="bold")
        for offset, side in ((1, "helpful"), (1 + top, "harmful")):
            grid[0, offset].annotate(
                f"most {side} training images", (0, 1.55), xycoords="axes fraction", fontsize=7, weight="bold", color=COLOURS[side]
            )


def _picture(axes: Axes, experiment: Experiment, config: Mapping[str, Any], inputs: Any, colour: str | None = None) -> None:
    pixels = as_pixels(inputs, config["data"]).permute(1, 2, 0).numpy()
    axes.imshow(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=colour is not None, color=colour or "k", linewidth=1.2)


def _sum(axes: Axes, part: pd.DataFrame) -> None:
    """From the initial to the final log-probability, one bar per term."""
    totals = part.groupby("part").score.sum()
    terms = [name for name in NAMES if name in totals.index and name not in ("initial", "final")]
    level, labels = float(totals["initial"]), ["initial"]
    axes.barh(0, level, color="0.75", height=0.7)
    for position, name in enumerate(terms, start=1):
        colour = COLOURS.get(name, "#D55E00" if totals[name] > 0 else "#0072B2")
        axes.barh(position, totals[name], left=level, color=colour, height=0.7)
        axes.plot([level, level], [position - 1.35, position + 0.35], color="0.4", linewidth=0.5)
        level += float(totals[name])
        labels.append(f"{NAMES[name]} {totals[name]:+.3g}")
    axes.barh(len(terms) + 1, float(totals["final"]), color="0.45", height=0.7)
    labels[0] = f"initial {totals['initial']:+.3g}"
    labels.append(f"final {totals['final']:+.3g}")
    axes.set_yticks(np.arange(len(labels)), labels, fontsize=6)
    axes.tick_params(axis="x", labelsize=6)
    axes.axvline(0, color="0.3", linewidth=0.5)
    axes.invert_yaxis()
    axes.yaxis.tick_right()
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("log-probability of the true class", fontsize=6)


def _name(experiment: Experiment, label: int) -> str:
    return experiment.names[int(label)] if experiment.names else str(int(label))
