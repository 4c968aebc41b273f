"""Test × train kernels and similarities of a window: the whole as a picture of block means, single samples on closer look."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import torch

from explaind.explore.sources import Source
from explaind.explore.views.predictions import labels_of
from explaind.explore.views.view import View, new_figure
from explaind.figures.matrices import block_mean

__all__ = ["kernel"]

CELLS = 240  # of a picture's side


def kernel(
    source: Source, window: str, layer: str, what: str, rows: tuple[int, int], columns: tuple[int, int]
) -> View:
    """A part of the kernel or of the similarity matrix.

    Args:
        source, window: a run and a window whose store it has.
        layer: its name; "" for the last one.
        what: "kernel" (test × train) or "similarity" (test × test).
        rows, columns: positions [from, to) in the order by label; (0, 0) for all.
    """
    stored = source.dataset(f"windows/{window}.zarr", "window")
    if stored is None:
        return View("No kernel is stored for this window.")
    layers = [str(name) for name in stored["layer"].values]
    layer = layer if layer in layers else layers[-1]
    dims = ("test", "train") if what == "kernel" else ("test", "test_other")
    values = stored[what].sel(layer=layer).transpose(*dims).values
    order = [_order(source, dim, size) for dim, size in zip(dims, values.shape, strict=True)]
    values = values[np.ix_(*order)]
    spans = [
        span if span[1] > span[0] else (0, size)
        for span, size in zip((rows, columns), values.shape, strict=True)
    ]
    part = values[slice(*spans[0]), slice(*spans[1])]
    shown, block = block_mean(part, CELLS)
    reach = float(np.quantile(np.abs(shown), 0.995)) or 1.0
    figure = go.Figure(
        go.Heatmap(
            z=shown, x0=spans[1][0], dx=block[1], y0=spans[0][0], dy=block[0], zmin=-reach, zmax=reach, colorscale="RdBu_r",
            colorbar={"thickness": 10, "len": 0.9}, hovertemplate="row %{y}, column %{x}: %{z:.3g}<extra></extra>",
        )
    )  # fmt: skip
    new_figure(figure, 420)
    other = "training samples" if what == "kernel" else "test samples"
    figure.update_xaxes(title_text=f"{other}, by label")
    figure.update_yaxes(title_text="test samples, by label", autorange="reversed")
    start, stop = stored.attrs["window"]
    words = f"{what.capitalize()} of {layer}, updates {start} to {stop - 1}. "
    words += (
        "Every cell is one pair of samples."
        if block == (1, 1)
        else f"Every cell is the mean of {block[0]} × {block[1]} pairs; draw a rectangle to look closer."
    )
    numbers = [
        (int(order[0][spans[0][0] + i]), *(float(f"{v:.5g}") for v in row))
        for i, row in enumerate(part[:200, :200])
    ]
    names = ("test", *(f"{dims[1]} {int(k)}" for k in order[1][slice(*spans[1])][:200]))
    return View(words, names, numbers, figure, {"layers": layers, "layer": layer, "spans": spans})


def _order(source: Source, dim: str, size: int) -> np.ndarray:
    """Samples by label, where labels are known."""
    if dim == "train":
        train = source.known and source.known.train
        train = getattr(train, "samples", train)
        labels = torch.as_tensor(train[1])[:size].numpy() if isinstance(train, tuple) else None
    else:
        labels = labels_of(source, size)
    return np.arange(size) if labels is None or labels.ndim != 1 else np.argsort(labels, kind="stable")
