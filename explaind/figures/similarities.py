"""Grids of test × test similarity matrices, as in Figures 5 and 13."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.colors import Normalize

from explaind.figures.matrices import describe_blocks, load_pictures, show
from explaind.figures.style import new_figure

__all__ = ["draw_similarities"]

PIXELS = 250


def draw_similarities(
    config: Mapping[str, Any],
    windows: Sequence[Path],
    phases: Path,
    *,
    stem: Path,
    layers: Sequence[str] | None,
    layers_down: bool,
    height: float,
) -> None:
    """Draw layers × windows.

    Args:
        config: resolved configuration.
        windows: stores of kind "window".
        phases: JSON of the recorded run.
        stem: output path without its suffix.
        layers: which layers; None for all.
        layers_down: layers are rows and windows columns, or the other way round.
        height: of the figure, inches.
    """
    pictures = load_pictures(config, windows, phases, kind="similarity", layers=layers, pixels=PIXELS)
    lines = list(pictures.values())
    steps = [f"steps {p.window[0]}–{p.window[1]}" for p in lines[0]]
    rows, columns = (list(pictures), steps) if layers_down else (steps, list(pictures))
    if not layers_down:
        lines = [list(line) for line in zip(*lines, strict=True)]
    with new_figure(height, stem, config["figure"]["dpi"]) as figure:
        grid = figure.subplots(len(rows), len(columns), sharex=True, sharey=True, squeeze=False)
        for line, axes_row, name in zip(lines, grid, rows, strict=True):
            for picture, axes in zip(line, axes_row, strict=True):
                image = show(axes, picture, Normalize(-1, 1))
                axes.set_box_aspect(1)
                axes.label_outer()
            axes_row[0].set_ylabel(name, fontweight="bold")
        for top, bottom, name in zip(grid[0], grid[-1], columns, strict=True):
            top.set_title(name)
            bottom.set_xlabel("test sample, by $a+b$")
        figure.colorbar(image, ax=grid, label="cosine similarity", pad=0.01, aspect=40, shrink=0.8)
        figure.supylabel("test sample, by $a+b$", fontsize=8)
        figure.supxlabel(describe_blocks(lines[0][0]), fontsize=6, color="0.35")
