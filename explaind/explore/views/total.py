"""A bar that always adds up: initial + kernel + regularization + residual = final, for exactly what is selected."""

from __future__ import annotations

import plotly.graph_objects as go
import xarray as xr

from explaind.explore.sources import Source
from explaind.explore.views.view import GREY, View, new_figure, signed
from explaind.figures.waterfall import UP_AND_DOWN

__all__ = ["parts_of_answer", "parts_of_store", "total"]


def parts_of_answer(answer: xr.Dataset, start: int, stop: int) -> dict[str, float]:
    """The parts over the updates [start, stop) of an answer by update and layer over the whole run."""
    steps = answer["step"]
    before, inside = steps < start, (steps >= start) & (steps < stop)
    terms = [name for name in ("kernel", "regularization", "penalty", "carried") if name in answer]

    def over(mask: xr.DataArray) -> dict[str, float]:
        return {name: float(answer[name].where(mask, 0).sum()) for name in (*terms, "residual")}

    initial = float(answer["initial"]) + sum(over(before).values())
    parts = over(inside)
    return {"initial": initial, **parts, "final": initial + sum(parts.values())}


def parts_of_store(source: Source, tests: tuple[int, ...], output: str) -> dict[str, float] | None:
    """The same over the whole run from the stored influences; None where they do not hold it."""
    stored = source.dataset("influence.zarr", "influence") if source.store is not None else None
    if stored is None or output in ("margin", "loss") or not tests or max(tests) >= stored.sizes["test"]:
        return None
    outputs = stored.sizes["output"]
    columns = [int(output)] * len(tests) if output != "true" else _labels(source, tests)
    if columns is None or max(columns) >= outputs:
        return None
    picked = stored[["initial", "kernel", "regularization", "residual", "final"]].sel(
        test=xr.DataArray(list(tests), dims="chosen"), output=xr.DataArray(columns, dims="chosen")
    )
    return {str(name): float(values.sum()) for name, values in picked.data_vars.items()}


def total(parts: dict[str, float] | None, what: str) -> View:
    """The bar of `parts`, in the order in which they add up; `what` says of which updates and predictions they are."""
    if parts is None:
        return View("What the chosen predictions are made of is not stored. Compute it by update, above.")
    names, values = list(parts), list(parts.values())
    figure = go.Figure(
        go.Waterfall(
            orientation="h",
            y=names,
            x=values,
            measure=["absolute", *["relative"] * (len(names) - 2), "total"],
            text=[signed(value) for value in values],
            textposition="auto",
            increasing={"marker": {"color": UP_AND_DOWN[0]}},
            decreasing={"marker": {"color": UP_AND_DOWN[1]}},
            totals={"marker": {"color": GREY}},
            connector={"line": {"color": GREY, "width": 0.5}},
            hovertemplate="%{y}: %{delta:+.6g}<extra></extra>",
        )
    )
    new_figure(figure, 60 + 34 * len(names), yaxis={"autorange": "reversed"}, showlegend=False)
    levels = [sum(values[:count]) for count in range(1, len(values))]
    low, high = min(levels), max(levels)
    if high - low < 0.1 * abs(values[0]):  # the terms could not be seen beside the value that they change
        figure.update_xaxes(range=[low - 0.3 * (high - low), high + 0.3 * (high - low)])
    terms = " ".join(f"{signed(value)} ({name})" for name, value in list(parts.items())[1:-1])
    words = f"{what} began at {signed(values[0])}; {terms} make {signed(values[-1])}."
    return View(words, ("part", "value"), [(name, value) for name, value in parts.items()], figure)


def _labels(source: Source, tests: tuple[int, ...]) -> list[int] | None:
    from explaind.explore.views.predictions import labels_of

    labels = labels_of(source, max(tests) + 1)
    return None if labels is None else [int(labels[test]) for test in tests]
