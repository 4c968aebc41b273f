"""The common style of all figures: sizes, fonts, the colours of the layers and terms, phase marks, saving.

Figures are built on `Figure` objects, without pyplot: no global state and no display.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from explaind.store.files import atomically

__all__ = [
    "DIVERGING",
    "LAYER_COLOURS",
    "TERM_COLOURS",
    "WIDTH",
    "decades",
    "fit_after",
    "layer_colour",
    "legend_below",
    "mark_phases",
    "new_figure",
    "panel",
    "save",
]

WIDTH = 7.0  # inches, the width of a page's text
#: Zero is white; readable without red-green vision. An odd number of levels has white in the middle, few make small files.
DIVERGING = mpl.colormaps["RdBu_r"].resampled(129)

#: Of the layers, from the input on: Okabe and Ito's palette, which survives the common colour-vision deficiencies, and a grey.
LAYER_COLOURS = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#666666")
#: Kernel and regularization; also train and test.
TERM_COLOURS = ("#000000", "#D55E00")

_RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib: the same everywhere
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.limits": (-3, 4),
    "axes.formatter.use_mathtext": True,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 7,
    "legend.frameon": True,
    "legend.framealpha": 0.8,
    "legend.edgecolor": "none",
    "legend.fancybox": False,
    "legend.handlelength": 1.4,
    "lines.linewidth": 1.1,
    "pdf.fonttype": 42,  # text stays text
    "svg.fonttype": "none",
}


def layer_colour(position: int) -> str:
    """The colour of a layer by its position in the experiment's order of layers; after the last colour comes the first again."""
    return LAYER_COLOURS[position % len(LAYER_COLOURS)]


@contextmanager
def new_figure(height: float, stem: Path, dpi: int, *, width: float = WIDTH) -> Iterator[Figure]:
    """A figure in the project's style; when the block ends without an error it is saved as `stem`.pdf and .png.

    Args:
        height, width: inches.
        stem: output path without its suffix.
        dpi: dots per inch of the PNG, and of images inside the PDF.
    """
    with mpl.rc_context(_RC):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        save(figure, stem, dpi)


def save(figure: Figure, stem: Path, dpi: int) -> None:
    """Write `stem`.pdf (vector, images at `dpi`) and `stem`.png, each completely or not at all.

    Dates and versions are left out of the files, so that the same input gives the same bytes.
    """
    stem = Path(stem)
    metadata = {".png": {"Software": None}, ".pdf": {"CreationDate": None, "Producer": None, "Creator": None}}
    for suffix, entries in metadata.items():
        path = stem.with_name(stem.name + suffix)
        atomically(path, lambda partial, m=entries: figure.savefig(partial, dpi=dpi, metadata=m))
        figure.set_layout_engine("none")  # both files have the first one's: it takes as long as drawing


def panel(axes: Axes, letter: str, title: str) -> None:
    """Title a panel: a bold letter and a short text, at the left."""
    axes.set_title(f"$\\bf{{{letter}}}$   {title}", loc="left")


def mark_phases(axes: Axes, phases: Mapping[str, Any], *, label: bool = False) -> None:
    """Thin vertical lines where the run memorised and generalised; with `label`, named beside them."""
    names = {"memorization_step": "memorised", "generalization_step": "generalised"}
    for key, name in names.items():
        if phases.get(key) is None:
            continue
        axes.axvline(phases[key], color="0.45", linewidth=0.7, linestyle=(0, (4, 2)), zorder=0)
        if label:
            axes.annotate(
                name, (phases[key], 0.1), (2, 0), xycoords=("data", "axes fraction"), textcoords="offset points",
                rotation=90, ha="left", va="bottom", fontsize=6, color="0.35",
            )  # fmt: skip


def fit_after(
    axes: Axes, steps: np.ndarray, curves: np.ndarray, start: float, *, bottom: float | None = None
) -> None:
    """Scale the axis to the curves [C, S] after the first `start` of the run; name the value where earlier ones are cut off."""
    later = curves[:, steps >= start * steps[-1]]
    low, high = (float(later.min()), float(later.max())) if bottom is None else (bottom, float(later.max()))
    margin = 0.05 * (high - low) or 1.0
    axes.set_ylim(low - margin if bottom is None else bottom, high + margin)
    column = int(np.abs(curves).max(0).argmax())
    if curves[:, column].max() > high + margin or curves[:, column].min() < low - margin:
        value = float(curves[:, column][np.abs(curves[:, column]).argmax()])
        size = f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2g}"
        note = {"xycoords": "axes fraction", "va": "top", "fontsize": 6, "color": "0.35"}
        box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1}
        axes.annotate(f"step {steps[column]}: {size}", (0.015, 0.99), bbox=box, **note)


def legend_below(axes: Axes, columns: int) -> None:
    """A panel's legend under its axis label, where it covers nothing."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=columns, columnspacing=1.0)


def decades(largest: float, smallest: float) -> list[float]:
    """Ticks of a symmetric logarithmic scale: 0, and the powers of ten between both sizes, every second one if there are many."""
    powers = list(range(math.ceil(math.log10(smallest)), math.floor(math.log10(largest)) + 1))[::-1]
    sizes = [10.0**power for power in (powers[::2] if len(powers) > 3 else powers)]
    return [*(-size for size in sizes), 0.0, *reversed(sizes)]
