"""Figure 5: how alike two predictions are to each layer, in the middle and the late window of training.

Similarity is the cosine, from −1 to 1, of the two predictions' scores over the parameters of one layer, summed over
training samples, outputs and the steps of the window. Rows and columns are sorted by a+b, and once more by label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from explaind.config.declarations import Figure
from explaind.figures.similarities import draw_similarities

__all__ = ["FIGURE", "LAYERS", "WINDOWS", "draw"]

FIGURE = Figure(
    label="5",
    file="fig05_similarity",
    shows="similarity of predictions",
    details="test × test cosine similarity of four layers in the middle and late window, sorted by a+b and by label; below, "
    "mean cosine by label difference. Colours span the range of each panel's pairs of different samples (but for 0.5% on "
    "either side), which is written above it.",
    caption="**Figure 5.** Cosine similarity of test predictions: of the vectors of influence over the parameters of one "
    "layer, summed over training samples, outputs and the updates of one window. Samples are sorted by a + b (left) and by "
    "label (right). Colours span the range of each panel's pairs of different samples, written above it, and not −1…1: most "
    "cosines are small. Below each pair: mean cosine by label difference; shaded: 10% to 90% of the pairs.",
    inputs={"windows": ("window", "middle", "late"), "phases": "phases"},
    options=("name", "data", "model", "figure.dpi"),
    requires=("study.kernel", "data.modulus"),
)

WINDOWS = FIGURE.inputs["windows"][1:]
SIZE = (10.0, 5.2)  # inches: eight matrices side by side
LAYERS = ("att. encoder", "att. decoder", "linear 2", "decoder")


def draw(config: Mapping[str, Any], *, windows: Sequence[Path], phases: Path, stem: Path) -> None:
    """Draw the figure: one row per window (`WINDOWS`), one column per layer.

    Args:
        config: resolved configuration; read are the data and `figure.dpi`.
        windows: stores of kind "window", in the order of the rows.
        phases: JSON of the recorded run.
        stem: output path without its suffix.
    """
    draw_similarities(config, windows, phases, stem=stem, layers=LAYERS, layers_down=False, size=SIZE)
