"""Figure 13: the similarity matrix of every layer in four windows of training (Figure 5 for all layers)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from explaind.config.declarations import Figure
from explaind.figures.similarities import draw_similarities

__all__ = ["FIGURE", "WINDOWS", "draw"]

FIGURE = Figure(
    label="13",
    file="fig13_similarity_layers",
    shows="similarity of every layer",
    details="as figure 5, for all layers and four windows",
    caption="**Figure 13.** As figure 5, for every layer and one window more.",
    inputs={"windows": ("window", "early", "onset", "middle", "late"), "phases": "phases"},
    options=("name", "data", "model", "figure.dpi"),
    requires=("study.kernel", "data.modulus"),
)

SIZE = (10.0, 13.5)  # inches: eight matrices side by side
WINDOWS = FIGURE.inputs["windows"][1:]


def draw(config: Mapping[str, Any], *, windows: Sequence[Path], phases: Path, stem: Path) -> None:
    """Draw the figure: one row per layer, one column per window (`WINDOWS`).

    Args:
        config: resolved configuration; read are the data and `figure.dpi`.
        windows: stores of kind "window", in the order of the columns.
        phases: JSON of the recorded run.
        stem: output path without its suffix.
    """
    draw_similarities(config, windows, phases, stem=stem, layers=None, layers_down=True, size=SIZE)
