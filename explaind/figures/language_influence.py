"""Training language → held-out language: what one training sequence of a language does to the loss of every other.

The mean over the checkpoints that were resolved by language. Each row is divided by the number of sequences that its language
has in a batch, so that rows can be compared; negative values lower the loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm

from explaind.config.declarations import Figure
from explaind.figures.style import DIVERGING, decades, new_figure, panel
from explaind.store import read_dataset
from explaind.studies.languages import per_sequence

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="languages",
    file="{experiment}_languages",
    shows="training language to held-out language",
    details="contribution of one training sequence to the mean loss of each held-out language, in the first and the second "
    "half of the checkpoints; languages right of the line were not trained on; symmetric logarithmic colours",
    caption="What one training sequence of each language does to the loss of every held-out language, in the first and the "
    "second half of the checkpoints. Languages to the right of the line were not trained on.",
    inputs={"languages": "explain_languages"},
    options=("figure.dpi",),
    requires="study.languages",
)


def draw(config: Mapping[str, Any], *, languages: list[Path], stem: Path) -> None:
    """Draw the figure: one map of the first half of the checkpoints, and one of the second.

    Args:
        config: resolved configuration; read is `figure.dpi`.
        languages: stores "update-languages", in the order of training.
        stem: output path without its suffix.
    """
    explained = [read_dataset(path, kind="update-languages") for path in languages]
    half = (len(explained) + 1) // 2
    maps = [
        np.mean([per_sequence(one) for one in part], axis=0)
        for part in (explained[:half], explained[half:] or explained)
    ]
    rows, columns = (explained[0][name].values.astype(str) for name in ("train_language", "heldout_language"))
    order = [
        *[i for i, name in enumerate(columns) if name in rows],
        *[i for i, name in enumerate(columns) if name not in rows],
    ]
    largest = max(np.abs(one).max() for one in maps)
    norm = SymLogNorm(linthresh=largest / 50, vmin=-largest, vmax=largest)
    height = 1.2 + 0.075 * len(rows)
    with new_figure(max(2.4, height), stem, config["figure"]["dpi"]) as figure:
        pair = figure.subplots(1, 2, sharey=True)
        spans = [explained[:half], explained[half:] or explained]
        for axes, values, letter, span in zip(pair, maps, "ab", spans, strict=True):
            image = _map(axes, values[:, order], rows, columns[order], norm)
            first, last = (one.attrs["step"] for one in (span[0], span[-1]))
            panel(axes, letter, f"Steps {first} to {last}" if first != last else f"Step {first}")
        pair[0].set_ylabel("one sequence of training language")
        bar = figure.colorbar(
            image, ax=list(pair), shrink=0.8, pad=0.01, ticks=decades(largest, largest / 50)
        )
        bar.set_label("change of the loss (nats per token)")


def _map(axes: Axes, values: np.ndarray, rows: np.ndarray, columns: np.ndarray, norm: SymLogNorm) -> Any:
    image = axes.imshow(values, cmap=DIVERGING, norm=norm, aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=4.5)
    axes.set_yticks(range(len(rows)), rows, fontsize=4.5)
    axes.tick_params(length=1)
    axes.set_xlabel("held-out language")
    known = sum(name in set(rows) for name in columns)
    if known < len(columns):  # languages that are held out only stand at the right
        axes.axvline(known - 0.5, color="0.2", linewidth=0.7)
    return image
