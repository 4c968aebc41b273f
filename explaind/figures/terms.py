"""One term of the simulated updates over the course of training, by kind of component and by depth: figures 6, 14 and 15."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from explaind.figures.style import fit_after, legend_below, new_figure, panel
from explaind.store import read_dataset
from explaind.studies.components import by_component, by_depth

__all__ = ["COMPONENT_COLOURS", "drawer"]

COMPONENT_COLOURS = {
    "input embedding": "#0072B2",
    "attention": "#D55E00",
    "MLP": "#009E73",
    "norms": "#666666",
    "output embedding": "#CC79A7",
}
_DEPTHS = mpl.colormaps["viridis"]
BRIGHTEST = 0.92  # of the colours: brighter ones can hardly be seen on white
START = 0.1  # of the run: what only the first updates reach is left out, and said
LEGEND = 8  # layers that are named one by one; more get a colour bar


def drawer(term: str) -> Callable[..., None]:
    """The function that draws the contributions of one term to the change of the held-out loss at every checkpoint.

    Args:
        term: "batch", "momentum" or "regularization".

    Returns:
        draw(config, *, updates, stem): config holds `figure.dpi`; updates is a store "updates"; stem is the output path without
        its suffix.
    """

    def draw(config: Mapping[str, Any], *, updates: Path, stem: Path) -> None:
        _draw(updates, term, stem=stem, dpi=config["figure"]["dpi"])

    return draw


def _draw(updates: Path, term: str, *, stem: Path, dpi: int) -> None:
    explained = read_dataset(updates, kind="updates")
    scores, steps = explained["score"].sel(term=term), explained["step"].values
    with new_figure(3.2, stem, dpi) as figure:
        left, right = figure.subplots(1, 2, sharex=True)
        kinds = by_component(scores)
        for name in kinds["component"].values.astype(str):
            left.plot(
                steps,
                kinds.sel(component=name),
                "o-",
                color=COMPONENT_COLOURS[name],
                markersize=2,
                label=name,
            )
        panel(left, "a", "By kind of component")
        left.set_ylabel("change of the held-out loss\nby one update (nats per token)")
        depths = by_depth(scores).transpose("depth", "checkpoint").values
        _depths(right, depths, steps)
        panel(right, "b", "By depth")
        legend_below(left, 3)
        fit_after(left, steps, kinds.transpose("component", "checkpoint").values, START)
        fit_after(right, steps, depths, START)
        for axes in (left, right):
            axes.axhline(0, color="0.3", linewidth=0.6, zorder=0)
            axes.set_xlabel("training step")
            axes.set_xlim(0, 1.02 * steps[-1])


def _depths(axes: Axes, curves: np.ndarray, steps: np.ndarray) -> None:
    """Embeddings in their own colours, the layers from dark (input) to bright (output)."""
    layers = len(curves) - 2
    for depth, curve in enumerate(curves):
        inner = 0 < depth <= layers
        colour = (
            _DEPTHS(BRIGHTEST * (depth - 1) / max(1, layers - 1))
            if inner
            else COMPONENT_COLOURS["input embedding" if depth == 0 else "output embedding"]
        )
        name = f"layer {depth}" if inner else "input" if depth == 0 else "output, norm"
        style = {"linestyle": "-" if inner else (0, (3, 1.5)), "marker": "o", "markersize": 2}
        axes.plot(steps, curve, color=colour, label=name if layers <= LEGEND or not inner else None, **style)
    legend_below(axes, 4)
    if layers > LEGEND:
        scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(1, 1 + (layers - 1) / BRIGHTEST), _DEPTHS)
        axes.figure.colorbar(scale, ax=axes, label="layer").ax.set_ylim(1, layers)
