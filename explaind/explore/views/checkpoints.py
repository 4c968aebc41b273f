"""Checkpoints of a language model: what one simulated update does to the held-out loss, and which language teaches which."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from explaind.explore.sources import Source
from explaind.explore.views.view import GREY, REGULARIZATION, View, new_figure

__all__ = ["chosen", "languages", "over_checkpoints", "total_of_checkpoints"]

TERMS = ("batch", "momentum", "regularization")


def over_checkpoints(source: Source, term: str) -> View:
    """Contribution of a term of the update to the change of the held-out loss, by kind of component, over training."""
    from explaind.figures.terms import COMPONENT_COLOURS
    from explaind.studies.components import by_component

    stored = source.read(source.store, "updates") if source.store else None
    if stored is None:
        return View("The explained checkpoints cannot be read.")
    steps = stored["step"].values
    kinds = by_component(stored["score"].sel(term=term))
    figure, columns = go.Figure(), {}
    for name in kinds["component"].values.astype(str):
        columns[name] = kinds.sel(component=name).values
        figure.add_scatter(
            x=steps, y=columns[name], name=name, mode="lines+markers", marker={"size": 5},
            line={"color": COMPONENT_COLOURS.get(name, GREY), "width": 1.5},
        )  # fmt: skip
    new_figure(figure, 360, dragmode="select", selectdirection="h", hovermode="x unified")
    figure.update_xaxes(title_text="update")
    figure.update_yaxes(title_text="nats per token", zeroline=True)
    words = (
        f"What the {term} of one simulated update does to the held-out loss; negative lowers it. Draw over the figure to choose "
        "checkpoints."
    )
    rows = [(int(s), *(float(f"{v[i]:.6g}") for v in columns.values())) for i, s in enumerate(steps)]
    return View(words, ("step", *columns), rows, figure)


def chosen(steps: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Which of these steps are in the window; all, if it is empty."""
    inside = (steps >= start) & (steps < stop)
    return inside if inside.any() else np.ones(len(steps), dtype=bool)


def total_of_checkpoints(source: Source, start: int, stop: int) -> tuple[dict[str, float] | None, str]:
    """Mean over the chosen checkpoints of the loss before the update, its parts, and the loss after it; and of what it is."""
    stored = source.read(source.store, "updates") if source.store else None
    if stored is None:
        return None, ""
    inside = chosen(stored["step"].values, start, stop)
    some = stored.isel(checkpoint=np.flatnonzero(inside))
    parts = {"before": float(some["before"].mean())}
    parts |= {term: float(some["score"].sel(term=term).sum("unit").mean()) for term in TERMS}
    parts["residual"] = float(some["residual"].mean())
    what = f"One update at each of {inside.sum()} of {len(inside)} checkpoints: the mean held-out loss"
    return {**parts, "after": sum(parts.values())}, what


def languages(source: Source, heldout: str, start: int, stop: int) -> View:
    """Which training languages help a held-out one: change of its loss by one training sequence, mean over chosen checkpoints."""
    from explaind.studies.languages import per_sequence

    folder = source.folder / "update_languages"
    stores = [source.read(path, "update-languages") for path in sorted(folder.glob("*.zarr"))]
    explained = [one for one in stores if one is not None]
    if not explained:
        return View("Influence between languages is not stored here.")
    steps = np.array([one.attrs["step"] for one in explained])
    some = [one for one, inside in zip(explained, chosen(steps, start, stop), strict=True) if inside]
    rows, columns = (some[0][name].values.astype(str) for name in ("train_language", "heldout_language"))
    heldout = heldout if heldout in columns else str(columns[0])
    values = np.mean([per_sequence(one) for one in some], axis=0)[:, list(columns).index(heldout)]
    order = np.argsort(values)
    figure = go.Figure(
        go.Bar(
            x=values[order], y=rows[order], orientation="h", hovertemplate="%{y}: %{x:+.3g}<extra></extra>",
            marker={"color": ["#009E73" if v < 0 else REGULARIZATION for v in values[order]]},
        )
    )  # fmt: skip
    new_figure(figure, 80 + 15 * len(rows), yaxis={"autorange": "reversed", "tickfont": {"size": 10}})
    figure.update_xaxes(title_text=f"change of the loss of {heldout} by one sequence, nats per token")
    best = ", ".join(rows[order[:3]])
    words = f"{heldout} is helped most by {best} ({len(some)} of {len(explained)} checkpoints)."
    table = [(str(rows[i]), float(f"{values[i]:.6g}")) for i in order]
    return View(
        words, ("train_language", heldout), table, figure, {"heldout": list(columns), "language": heldout}
    )
