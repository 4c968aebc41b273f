"""Grids of matrices over pairs of samples: sorting, reducing, and drawing them with one colour scale per row.

Samples are sorted by a+b, or by the label (a+b) mod p and then by a+b.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize, SymLogNorm
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from explaind.figures.style import DIVERGING
from explaind.store import read_dataset
from explaind.studies.labels import samples_of

__all__ = [
    "Picture",
    "block_mean",
    "describe_blocks",
    "load_pictures",
    "read_window",
    "scale_ticks",
    "show",
    "signed_log",
]

DECADES = (2, 4)  # fewest and most decades of the colour scale's logarithmic part; below them it is linear


class Picture:
    """One matrix as it is shown: sorted by keys, reduced by means over blocks.

    Attributes:
        values: `[rows, columns]`, at most `pixels` each way.
        block: samples per row and per column of `values`.
        row_keys, column_keys: of every sample, sorted.
        window: [start, stop) in updates.
    """

    def __init__(
        self,
        matrix: np.ndarray,
        row_keys: np.ndarray,
        column_keys: np.ndarray,
        window: Sequence[int],
        pixels: int,
    ) -> None:
        rows, columns = (np.argsort(keys, kind="stable") for keys in (row_keys, column_keys))
        self.values, self.block = block_mean(matrix[rows][:, columns], pixels)
        self.row_keys, self.column_keys = row_keys[rows], column_keys[columns]
        self.window = (int(window[0]), int(window[1]))


def load_pictures(
    config: Mapping[str, Any],
    windows: Sequence[Path],
    phases: Path,
    *,
    kind: str,
    layers: Sequence[str] | None,
    pixels: int,
    choice: str | None = None,
) -> dict[str, list[Picture]]:
    """Layer name -> its pictures, sorted by a+b, one per window in the given order.

    Args:
        config: resolved configuration, for the samples' sort keys.
        windows: stores of kind "window".
        phases: JSON of the recorded run.
        kind: "kernel" (test × train) or "similarity" (test × test).
        layers: which layers; None for all.
        pixels: largest number of rows and columns of a picture.
        choice: of what is explained, where the stores hold several.
    """
    pictures: dict[str, list[Picture]] = {}
    for path in windows:
        result = read_window(path, choice)
        samples = samples_of(result, config, phases)
        columns = samples.train_keys if kind == "kernel" else samples.test_keys
        for layer in result["layer"].values if layers is None else layers:
            matrix = result[kind].sel(layer=layer).values
            picture = Picture(matrix, samples.test_keys, columns, result.attrs["window"], pixels)
            pictures.setdefault(str(layer), []).append(picture)
    return pictures


def read_window(path: Path, choice: str | None = None) -> xr.Dataset:
    """A store of kind "window"; of several choices, the chosen one."""
    result = read_dataset(path, kind="window")
    return result if choice is None else result.sel(choice=choice)


def block_mean(matrix: np.ndarray, pixels: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Means over blocks, so that at most `pixels` rows and columns remain; the last block may be smaller.

    Returns:
        The means (float64) and the block's size. Showing more samples than dots makes moiré; the mean of a block does not.
    """
    rows, columns = (-(-size // pixels) for size in matrix.shape)
    starts = [np.arange(0, size, step) for size, step in zip(matrix.shape, (rows, columns), strict=True)]
    total = np.add.reduceat(np.add.reduceat(matrix.astype(np.float64), starts[0], axis=0), starts[1], axis=1)
    counts = [np.diff(np.append(start, size)) for start, size in zip(starts, matrix.shape, strict=True)]
    return total / np.outer(*counts), (rows, columns)


def signed_log(pictures: Sequence[Picture]) -> SymLogNorm:
    """A symmetric logarithmic scale around zero for all of `pictures`.

    It ends at the 99.9th percentile of the absolute values, so that single pixels do not set it; those beyond are clipped. It
    becomes linear where the faintest picture has most of its values, within the limits of `DECADES`, so that no picture looks
    empty.
    """
    sizes = [np.abs(picture.values) for picture in pictures]
    top = float(np.quantile(np.concatenate([size.ravel() for size in sizes]), 0.999)) or 1.0
    faintest = min(float(np.quantile(size, 0.9)) for size in sizes)
    few, many = (top / 10**decades for decades in DECADES)
    return SymLogNorm(linthresh=min(max(faintest, many), few), vmin=-top, vmax=top)


def show(axes: Axes, picture: Picture, norm: Normalize, cmap: Colormap = DIVERGING) -> AxesImage:
    """Draw one picture; its ticks are values of the keys, each at the first sample that has it."""
    image = axes.imshow(
        picture.values,
        norm=norm,
        cmap=cmap,
        aspect="auto",
        interpolation="antialiased",
        interpolation_stage="data",  # no colours that are not on the scale, hence small files
    )
    for axis, keys, block in (
        (axes.yaxis, picture.row_keys, picture.block[0]),
        (axes.xaxis, picture.column_keys, picture.block[1]),
    ):
        marks = MaxNLocator(5, steps=[1, 2, 5, 10], integer=True).tick_values(int(keys[0]), int(keys[-1]))
        marks = marks[(marks >= keys[0]) & (marks <= keys[-1])]
        axis.set_ticks(np.searchsorted(keys, marks) / block - 0.5, [f"{mark:.0f}" for mark in marks])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def scale_ticks(norm: SymLogNorm) -> list[float]:
    """Zero and powers of ten on both sides that lie in the logarithmic part of the scale, at most three."""
    decades = np.arange(np.ceil(np.log10(norm.linthresh * 1.5)), np.floor(np.log10(norm.vmax)) + 1)
    decades = decades[::-1][:: 1 + len(decades) // 4][::-1]
    powers = 10.0**decades
    return [*(-powers[::-1]), 0.0, *powers]


def describe_blocks(picture: Picture) -> str:
    """What a pixel of the picture stands for, in words; empty if it is a single pair of samples."""
    rows, columns = picture.block
    if rows * columns == 1:
        return ""
    return f"One dot: mean over {rows} × {columns} samples that are neighbours in this order."
