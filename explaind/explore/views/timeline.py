"""When the chosen predictions were made: contributions of each layer over training, under accuracy and loss on the same axis."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from plotly.subplots import make_subplots

from explaind.explore.sources import Source
from explaind.explore.views.view import GREY, REGULARIZATION, View, colour, new_figure

__all__ = ["aligned", "timeline"]

MARKS = {"memorization_step": "memorised", "generalization_step": "generalised"}
ACCURACIES = {"train_accuracy": GREY, "test_accuracy": "#009E73"}
OTHERS = (GREY, "#009E73", "#CC79A7")
Steps = Callable[[np.ndarray], np.ndarray]


def timeline(
    source: Source,
    answer: xr.Dataset | None,
    *,
    cumulative: bool,
    other: Source | None = None,
    by_phase: bool = False,
) -> View:
    """Lines over updates: kernel of each layer, and regularization.

    Args:
        source: the run.
        answer: kernel, regularization (step, layer) of chosen predictions; None: the stored importances of all of them.
        cumulative: sums up to each update, in place of each update's own. Importances are no sums of signed numbers and stay.
        other: a run that is drawn beside it, importances alone, dotted.
        by_phase: stretch the other one's steps so that its phases are where this one's are.
    """
    curves = _curves(source)
    heights = [0.25, 0.75] if curves else [0.001, 0.999]
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=heights, vertical_spacing=0.05)
    columns: dict[str, np.ndarray] = {}
    _metrics(figure, source, None)
    if answer is not None:
        steps, parts = answer["step"].values, _parts(answer)
        for number, (name, values) in enumerate(parts.items()):
            shown = np.cumsum(values) if cumulative else values
            columns[name] = shown
            _line(figure, steps, shown, name, REGULARIZATION if name == "regularization" else colour(number))
        words = "What every update contributed to the chosen predictions" + (
            ", summed up to each update." if cumulative else "."
        )
        title = "sum of contributions" if cumulative else "contribution of an update"
    else:
        stored = source.dataset("influence.zarr", "influence") if source.store is not None else None
        if stored is None:
            return View("Nothing is stored by update. Choose a prediction, and compute when it was made.")
        steps = stored["step"].values
        for number, (name, values) in enumerate(_importances(stored).items()):
            columns[name] = values
            _line(figure, steps, values, name, REGULARIZATION if name == "regularization" else colour(number))
        words = "How much every update moved all predictions: absolute contributions, summed over samples and outputs."
        title = "importance of an update"
        later = [values[len(values) // 50 :].max() for values in columns.values()]
        if other is None:  # the first updates are large and would leave nothing to be seen of the others
            figure.update_yaxes(range=[0, 1.1 * max(later)], row=2, col=1)
    if other is not None:
        words += _beside(figure, source, other, aligned(source, other) if by_phase else (lambda s: s))
    _marks(figure, source)
    new_figure(figure, 420, dragmode="select", selectdirection="h", hovermode="x unified")
    figure.update_xaxes(zeroline=False)
    figure.update_xaxes(title_text="update", row=2, col=1)
    figure.update_yaxes(title_text=title, row=2, col=1, zeroline=True)
    if set(curves) <= set(ACCURACIES):
        figure.update_yaxes(title_text="accuracy", range=[-0.03, 1.03], row=1, col=1, visible=bool(curves))
    rows = [(int(s), *(float(f"{v[i]:.6g}") for v in columns.values())) for i, s in enumerate(steps)]
    return View(words, ("step", *columns), rows, figure)


def aligned(source: Source, other: Source) -> Steps:
    """The other run's steps on this one's axis: piecewise linear between beginning, phases and end, as far as both have them."""
    own, others = (
        [0.0, *(run.phases[key] for key in MARKS if source.phases.get(key) and other.phases.get(key))]
        for run in (source, other)
    )
    ends = [float(run.phases.get("steps") or 0) for run in (source, other)]
    if not all(ends):
        return lambda s: s
    return lambda s: np.interp(s, [*others, ends[1]], [*own, ends[0]])


def _parts(answer: xr.Dataset) -> dict[str, np.ndarray]:
    """Kernel of each layer and the terms without samples, [S] each."""
    parts = {str(name): answer["kernel"].sel(layer=name).values for name in answer["layer"].values}
    for term in ("regularization", "penalty", "carried"):
        if term in answer:
            parts[term] = answer[term].sum("layer").values
    return parts


def _importances(stored: xr.Dataset) -> dict[str, np.ndarray]:
    parts = {str(name): stored["importance_kernel"].sel(layer=name).values for name in stored["layer"].values}
    return parts | {"regularization": stored["importance_regularization_all"].values}


def _line(figure: go.Figure, x: np.ndarray, y: np.ndarray, name: str, ink: str, dash: str = "solid") -> None:
    line = {"color": ink, "width": 1.6, "dash": "dash" if name == "regularization" else dash}
    mode = "lines" if len(x) > 40 else "lines+markers"
    figure.add_scatter(x=x, y=y, name=name, line=line, mode=mode, marker={"size": 5}, row=2, col=1)


def _curves(source: Source) -> dict[str, str]:
    """What was logged and is drawn above, with its colour: accuracies, or else the first few numbers, such as losses."""
    logged = source.metrics.select_dtypes("number").dropna(axis=1, how="all")
    known = {name: ink for name, ink in ACCURACIES.items() if name in logged}
    return known or dict(zip(map(str, logged.columns), OTHERS, strict=False))


def _metrics(figure: go.Figure, source: Source, steps: Steps | None) -> None:
    for name, ink in _curves(source).items():
        values = source.metrics[name].dropna()
        x = values.index.to_numpy() if steps is None else steps(values.index.to_numpy())
        line = {"color": ink, "width": 1.4, "dash": "solid" if steps is None else "dot"}
        figure.add_scatter(
            x=x, y=values, name=name.replace("_", " "), line=line, mode="lines", showlegend=steps is None, row=1, col=1
        )  # fmt: skip


def _marks(figure: go.Figure, source: Source) -> None:
    for key, words in MARKS.items():
        step = source.phases.get(key)
        if step:
            figure.add_vline(x=step, line={"color": GREY, "width": 1, "dash": "dot"})
            figure.add_annotation(
                x=step, y=1.0, yref="y domain", text=words, showarrow=False, xanchor="right", yanchor="top", textangle=-90,
                font={"size": 10},
            )  # fmt: skip


def _beside(figure: go.Figure, source: Source, other: Source, steps: Steps) -> str:
    stored = other.dataset("influence.zarr", "influence") if other.store is not None else None
    _metrics(figure, other, steps)
    if stored is None:
        return f" Of {other.key} no importances are stored."
    total = stored["importance_kernel_all"].values
    scaled = ""
    mine = source.dataset("influence.zarr", "influence") if source.store is not None else None
    if mine is not None and mine.sizes["test"] != stored.sizes["test"]:
        total = total * (mine.sizes["test"] / stored.sizes["test"])
        scaled = f" (of {stored.sizes['test']} samples, scaled to {mine.sizes['test']:,})"
    figure.add_scatter(
        x=steps(stored["step"].values), y=total, name=f"{other.key}: all layers", mode="lines",
        line={"color": GREY, "width": 1.4, "dash": "dot"}, row=2, col=1,
    )  # fmt: skip
    if mine is not None and "importance_kernel_all" in mine:
        figure.add_scatter(
            x=mine["step"].values, y=mine["importance_kernel_all"].values, name=f"{source.key}: all layers", mode="lines",
            line={"color": "#000000", "width": 1.2}, row=2, col=1,
        )  # fmt: skip
    return f" Dotted: {other.key}, importance of all layers together{scaled}."
