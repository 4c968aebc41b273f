"""Grids of test × test similarity matrices, as in figures 5 and 13.

A cell shows one matrix, sorted by a+b and by the label (a+b) mod p, above its profile: the mean cosine by label difference.
Cosines off the diagonal are often far smaller than 1, so each cell's colours span the range of its own pairs i ≠ j (all but
`explaind.studies.profiles.TAIL` on either side), which is written above it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from explaind.figures.matrices import Picture, read_window, show
from explaind.figures.style import LAYER_COLOURS, new_figure
from explaind.studies.labels import samples_of
from explaind.studies.profiles import Profile, difference_profile, offdiagonal_range

__all__ = ["COLOURS", "Cell", "draw_cells", "draw_similarities", "load_cells", "range_text"]

COLOURS = "each panel's colours span the range written above it: its pairs of different samples, but for 0.5% on either side"
PIXELS = 250
SEQUENTIAL = mpl.colormaps["viridis"].resampled(129)


class Cell:
    """One similarity matrix as it is shown.

    Attributes:
        pictures: sorted by a+b, and by label.
        profile: by label difference.
        limits: of the colours.
        window: [start, stop) in updates.
    """

    def __init__(
        self,
        matrix: np.ndarray,
        keys: np.ndarray,
        labels: np.ndarray,
        modulus: int,
        window: Sequence[int],
        pixels: int = PIXELS,
    ) -> None:
        by_sum = np.argsort(keys, kind="stable")  # within a label, samples stay in this order
        sorted_matrix, ordered = matrix[by_sum][:, by_sum], labels[by_sum]
        self.pictures = (
            Picture(matrix, keys, keys, window, pixels),
            Picture(sorted_matrix, ordered, ordered, window, pixels),
        )
        self.profile: Profile = difference_profile(matrix, labels, modulus)
        self.limits = offdiagonal_range(matrix)
        self.window = (int(window[0]), int(window[1]))


def load_cells(
    config: Mapping[str, Any],
    windows: Sequence[Path],
    phases: Path,
    *,
    layers: Sequence[str] | None,
    choice: str | None = None,
    pixels: int = PIXELS,
) -> dict[str, list[Cell]]:
    """Layer name → its cells, one per window in the given order.

    Args:
        config: resolved configuration, for the samples' labels.
        windows: stores of kind "window".
        phases: JSON of the recorded run.
        layers: which layers; None for all.
        choice: of what is explained, where the stores hold several.
        pixels: largest number of rows and columns of a picture.
    """
    cells: dict[str, list[Cell]] = {}
    for path in windows:
        result = read_window(path, choice)
        samples = samples_of(result, config, phases)
        for layer in result["layer"].values if layers is None else layers:
            matrix = result["similarity"].sel(layer=layer).values
            cell = Cell(
                matrix,
                samples.test_keys,
                samples.test_labels,
                samples.modulus,
                result.attrs["window"],
                pixels,
            )
            cells.setdefault(str(layer), []).append(cell)
    return cells


def draw_similarities(
    config: Mapping[str, Any],
    windows: Sequence[Path],
    phases: Path,
    *,
    stem: Path,
    layers: Sequence[str] | None,
    layers_down: bool,
    size: tuple[float, float],
) -> None:
    """Draw layers × windows.

    Args:
        config: resolved configuration.
        windows: stores of kind "window".
        phases: JSON of the recorded run.
        stem: output path without its suffix.
        layers: which layers; None for all.
        layers_down: layers are rows and windows columns, or the other way round.
        size: width and height of the figure, inches.
    """
    cells = load_cells(config, windows, phases, layers=layers)
    lines = list(cells.values())
    steps = [f"steps {cell.window[0]}–{cell.window[1]}" for cell in lines[0]]
    rows, columns = (list(cells), steps) if layers_down else (steps, list(cells))
    if not layers_down:
        lines = [list(line) for line in zip(*lines, strict=True)]
    draw_cells(lines, rows, columns, stem=stem, dpi=config["figure"]["dpi"], size=size)


def draw_cells(
    lines: Sequence[Sequence[Cell]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    stem: Path,
    dpi: int,
    size: tuple[float, float],
    orders: Sequence[int] = (0, 1),
) -> None:
    """Draw a grid of cells with names of its rows and columns.

    Args:
        lines: cells by row.
        rows, columns: their names.
        stem, dpi, size: as of `new_figure`; width and height in inches.
        orders: which of a cell's pictures, 0: by a+b, 1: by label.
    """
    each = len(orders)
    with new_figure(size[1], stem, dpi, width=size[0]) as figure:
        grid = figure.add_gridspec(2 * len(lines), each * len(columns), height_ratios=[3, 1.1] * len(lines))
        for i, (line, name) in enumerate(zip(lines, rows, strict=True)):
            for j, (cell, column) in enumerate(zip(line, columns, strict=True)):
                for position, order in enumerate(orders):
                    axes = figure.add_subplot(grid[2 * i, each * j + position])
                    _matrix(axes, cell, order)
                    if position == 0:
                        axes.set_title(
                            f"{column}\n{range_text(cell)}" if i == 0 else range_text(cell),
                            loc="left",
                            fontsize=8 if each > 1 else 7,
                        )
                    if j == position == 0:
                        axes.set_ylabel(name, fontweight="bold")
                below = figure.add_subplot(grid[2 * i + 1, each * j : each * (j + 1)])
                draw_profile(below, cell.profile, LAYER_COLOURS[0])
                below.set_xlabel("label difference" if i == len(lines) - 1 else "")
        if each > 1:
            figure.suptitle("Each cell: sorted by $a+b$ (left) and by label (right); below, mean cosine by label "
                            "difference (shaded: 10% to 90% of the pairs)", fontsize=7, color="0.35")  # fmt: skip
        else:
            figure.suptitle("Sorted by label; below, mean cosine by label difference (shaded: 10% to 90% of the pairs)",
                            fontsize=7, color="0.35")  # fmt: skip
        figure.supxlabel(f"Colours: {COLOURS}.", fontsize=6, color="0.35")


def draw_profile(axes: Axes, profile: Profile, colour: str, label: str | None = None) -> None:
    """Mean cosine by label difference, with the range of most pairs."""
    axes.fill_between(profile.difference, profile.low, profile.high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(profile.difference, profile.mean, color=colour, linewidth=0.8, label=label)
    axes.axhline(0, color="0.3", linewidth=0.4)
    axes.tick_params(labelsize=5.5)
    axes.set_xlim(profile.difference[0], profile.difference[-1])
    axes.locator_params(axis="y", nbins=3)


def range_text(cell: Cell) -> str:
    """The range of the colours in words."""
    return f"{cell.limits[0]:.2g} … {cell.limits[1]:.2g}"


def _matrix(axes: Axes, cell: Cell, order: int) -> None:
    low, high = cell.limits
    show(axes, cell.pictures[order], Normalize(low, high if high > low else low + 1), SEQUENTIAL)
    axes.set_box_aspect(1)
    axes.tick_params(labelsize=5.5, length=1.5)
    if order:
        axes.tick_params(labelleft=False, left=False)
