"""Pictures of an answer of `explaind.influence`: when, because of which samples, which pairs, and what adds up.

    import explaind.plot

    axes = explaind.plot.timeline(scores.sel(test=3))

Each draws on `ax`, or on a new figure, and returns the matplotlib axes; a notebook shows `axes.figure`. They show what is there:
select first (`scores.sel(test=3, output=1)`); what is left besides the axes that a picture has is summed.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from explaind.errors import QueryError
from explaind.figures.matrices import block_mean
from explaind.figures.style import DIVERGING, TERM_COLOURS, layer_colour
from explaind.figures.waterfall import UP_AND_DOWN
from explaind.figures.waterfall import waterfall as draw_waterfall

__all__ = ["kernel", "parts", "timeline", "top_samples", "waterfall"]

TERMS = ("kernel", "others", "regularization", "penalty", "carried")
CELLS = 400  # of a matrix's side; larger ones are shown as means of blocks


def timeline(scores: xr.Dataset, *, cumulative: bool = True, ax: Axes | None = None) -> Axes:
    """Contributions over updates: a line for each layer, if layers were kept, and one for each term without samples.

    Args:
        scores: with `step` kept; other axes than step and layer are summed.
        cumulative: sums up to each update, in place of each update's own. Importances are shown as they are.
        ax: to draw on.

    Raises:
        QueryError: the axis step was not kept.
    """
    _needs(scores, "kernel", "step")
    adds = cumulative and "importance" not in scores.attrs
    axes = ax or _axes()
    steps = scores["step"].values

    def line(values: xr.DataArray, name: str, **style: Any) -> None:
        over = values.sum([dim for dim in values.dims if dim != "step"]).values
        axes.plot(steps, np.cumsum(over) if adds else over, label=name, **style)

    kept = scores["kernel"]
    if "layer" in kept.dims:
        for number, layer in enumerate(kept["layer"].values):
            line(kept.sel(layer=layer), str(layer), color=layer_colour(number))
    else:
        line(kept, "kernel", color=TERM_COLOURS[0])
    for term in TERMS[1:]:
        if term in scores and "step" in scores[term].dims:
            line(
                scores[term],
                term,
                color=TERM_COLOURS[1] if term == "regularization" else "0.5",
                linestyle="--",
            )
    axes.axhline(0, color="0.3", linewidth=0.6, zorder=0)
    axes.set_xlabel("update")
    axes.set_ylabel("sum of contributions" if adds else "contribution of an update")
    axes.legend(fontsize="small")
    return axes


def top_samples(
    scores: xr.Dataset, *, top: int = 5, name: Callable[[int], str] = str, ax: Axes | None = None
) -> Axes:
    """The training samples with the largest and the smallest scores, and what all others sum to.

    Args:
        scores: with `train` kept; all other axes are summed.
        top: samples on either side.
        name: number of a sample → its label.
        ax: to draw on.

    Raises:
        QueryError: the axis train was not kept.
    """
    _needs(scores, "kernel", "train")
    values = scores["kernel"].sum([dim for dim in scores["kernel"].dims if dim != "train"])
    order = np.argsort(values.values, kind="stable")
    top = min(top, len(order) // 2)
    chosen = [*order[::-1][:top], *order[:top][::-1]]
    shown = values.values[chosen]
    rest = float(values.sum() - shown.sum()) + (float(scores["others"].sum()) if "others" in scores else 0.0)
    bars = [*shown[:top], rest, *shown[top:]]
    labels = [name(int(values["train"].values[i])) for i in chosen]
    labels.insert(top, f"{len(order) - 2 * top:,} others")
    axes = ax or _axes()
    colours = [UP_AND_DOWN[int(value <= 0)] for value in bars]
    colours[top] = "0.6"
    axes.barh(np.arange(len(bars)), bars, color=colours)
    axes.set_yticks(np.arange(len(bars)), labels)
    axes.invert_yaxis()
    axes.axvline(0, color="0.3", linewidth=0.6)
    axes.set_xlabel("contribution")
    return axes


def kernel(scores: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Test × train: what every training sample contributed to every prediction; other axes are summed.

    Args:
        scores: with `train` and `test` kept.
        ax: to draw on.

    Raises:
        QueryError: one of these axes was not kept.
    """
    _needs(scores, "kernel", "train", "test")
    values = scores["kernel"].sum([dim for dim in scores["kernel"].dims if dim not in ("train", "test")])
    matrix, block = block_mean(values.transpose("test", "train").values, CELLS)
    axes = ax or _axes()
    reach = float(np.abs(matrix).max()) or 1.0
    extent = (-0.5, values.sizes["train"] - 0.5, values.sizes["test"] - 0.5, -0.5)
    image = axes.imshow(
        matrix, cmap=DIVERGING, vmin=-reach, vmax=reach, aspect="auto", extent=extent, interpolation="nearest"
    )
    label = "contribution" if block == (1, 1) else f"mean of {block[0]} × {block[1]} contributions"
    axes.figure.colorbar(image, ax=axes, label=label)
    axes.set_xlabel("training sample")
    axes.set_ylabel("test sample")
    return axes


def parts(scores: xr.Dataset) -> dict[str, float]:
    """initial, every term, residual, omitted (if updates were left out) and final, summed over all that is there.

    Raises:
        QueryError: importances, which do not add up.
    """
    _needs(scores, "residual")
    values = {"initial": float(scores["initial"].sum())}
    for name in (*TERMS, "residual", "omitted"):
        if name in scores:
            values[name] = float(scores[name].sum())
    return {**values, "final": float(scores["final"].sum())}


def waterfall(scores: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """initial + kernel + regularization + … + residual = final, as bars; everything is summed.

    Args:
        scores: a signed answer.
        ax: to draw on.

    Raises:
        QueryError: importances, which do not add up.
    """
    axes = ax or _axes()
    draw_waterfall(axes, parts(scores))
    axes.set_xlabel(str(scores.attrs.get("target", "value")))
    return axes


class _Shown(Figure):
    """A figure that a notebook shows, without pyplot's global state."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=90)
        return file.getvalue()


def _axes() -> Axes:
    return _Shown(figsize=(6, 3), layout="constrained").subplots()


def _needs(scores: xr.Dataset, variable: str, *dims: str) -> None:
    if variable not in scores:
        raise QueryError(
            f"There is no {variable} in these scores.",
            expected="an answer of explaind.influence"
            + (" without importance=" if variable == "residual" else ""),
            got=", ".join(map(str, scores.data_vars)),
        )
    if missing := [dim for dim in dims if dim not in scores[variable].dims]:
        raise QueryError(
            f"The picture shows the axis {missing[0]!r}, which these scores do not have.",
            expected=f"keep=({', '.join(repr(dim) for dim in dims)}, …), not summed or selected",
            got=", ".join(map(str, scores[variable].dims)) or "no axis",
            remedy="Ask again with this axis kept.",
        )
