"""Influence of every attention head over the course of training: query heads, and the key-value heads that they share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm

from explaind.config.declarations import Figure
from explaind.figures.style import DIVERGING, decades, new_figure, panel
from explaind.store import read_dataset
from explaind.studies.components import by_head

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="heads",
    file="{experiment}_heads",
    shows="influence of every attention head",
    details="batch influence at each checkpoint, as a share of Σ of absolute values over heads: query heads (queries and "
    "outputs), key-value heads (keys and values)",
    caption="Influence of the batch through every attention head, as a share of all heads at the checkpoint: query heads "
    "with their outputs (a), and the key-value heads that they share (b).",
    inputs={"updates": "updates"},
    options=("figure.dpi",),
    requires="checkpoints",
)


def draw(config: Mapping[str, Any], *, updates: Path, stem: Path) -> None:
    """Draw the figure: batch influence, one row per head, one column per checkpoint.

    Each column is divided by the sum of the absolute values of the query heads (and of the key-value heads), so that early and
    late checkpoints can be read on one scale, which is symmetrically logarithmic.

    Args:
        config: resolved configuration; read is `figure.dpi`.
        updates: store "updates".
        stem: output path without its suffix.
    """
    explained = read_dataset(updates, kind="updates")
    scores = explained["score"].sel(term="batch")
    maps = [
        by_head(scores, pair).transpose("depth", "head", "checkpoint")
        for pair in (("q_proj", "o_proj"), ("k_proj", "v_proj"))
    ]
    tiny = np.finfo(float).tiny  # a column of zeros stays zero
    shares = [one.values / np.maximum(np.abs(one.values).sum((0, 1), keepdims=True), tiny) for one in maps]
    largest = max(np.abs(one).max() for one in shares)
    rows = maps[0].sizes["depth"] * maps[0].sizes["head"]
    with new_figure(max(2.6, 1.2 + 0.06 * rows), stem, config["figure"]["dpi"]) as figure:
        pair = figure.subplots(1, 2)
        titles = ("Query heads (queries, outputs)", "Key-value heads (keys, values)")
        for axes, one, letter, title in zip(pair, shares, "ab", titles, strict=True):
            image = _map(
                axes, one, explained["step"].values, SymLogNorm(largest / 30, vmin=-largest, vmax=largest)
            )
            panel(axes, letter, title)
        pair[0].set_ylabel("layer")
        bar = figure.colorbar(
            image, ax=list(pair), shrink=0.8, pad=0.01, ticks=decades(largest, largest / 30)
        )
        bar.set_label("share of the heads' influence\n(negative: lowers the loss)")


def _map(axes: Axes, values: np.ndarray, steps: np.ndarray, norm: SymLogNorm) -> Any:
    depths, heads, _ = values.shape
    image = axes.imshow(
        values.reshape(depths * heads, -1), cmap=DIVERGING, norm=norm, aspect="auto", interpolation="nearest"
    )
    for border in range(1, depths):
        axes.axhline(border * heads - 0.5, color="0.2", linewidth=0.4)
    axes.set_yticks(
        [depth * heads + (heads - 1) / 2 for depth in range(depths)],
        [str(depth + 1) for depth in range(depths)],
    )
    shown = np.unique(np.linspace(0, len(steps) - 1, min(6, len(steps))).round().astype(int))
    axes.set_xticks(shown, [str(step) for step in steps[shown]])
    axes.set_xlabel("training step")
    return image
