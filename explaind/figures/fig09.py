"""Figure 9: the test × train kernel of every layer in four windows of training (Figure 4 for all layers).

Each row, one layer, has its own symmetric logarithmic colour scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from explaind.config.declarations import Figure
from explaind.figures.matrices import describe_blocks, load_pictures, scale_ticks, show, signed_log
from explaind.figures.style import new_figure

__all__ = ["FIGURE", "WINDOWS", "draw"]

FIGURE = Figure(
    label="9",
    file="fig09_kernel_layers",
    shows="kernel of every layer, test x train",
    details="as figure 4, for all layers and four windows; one colour scale per layer",
    caption="**Figure 9.** As figure 4, for every layer and one window more.",
    inputs={"windows": ("window", "early", "onset", "middle", "late"), "phases": "phases"},
    options=("name", "data", "model", "figure.dpi"),
    requires=("study.kernel", "data.modulus"),
)

WINDOWS = FIGURE.inputs["windows"][1:]
PIXELS = 200


def draw(config: Mapping[str, Any], *, windows: Sequence[Path], phases: Path, stem: Path) -> None:
    """Draw the figure.

    Args:
        config: resolved configuration; read are the data and `figure.dpi`.
        windows: stores of kind "window", in the order of the columns (`WINDOWS`).
        phases: JSON of the recorded run.
        stem: output path without its suffix.
    """
    pictures = load_pictures(config, windows, phases, kind="kernel", layers=None, pixels=PIXELS)
    with new_figure(8.8, stem, config["figure"]["dpi"]) as figure:
        grid = figure.subplots(len(pictures), len(windows), sharex=True, sharey=True, squeeze=False)
        for row, (layer, line) in zip(grid, pictures.items(), strict=True):
            norm = signed_log(line)
            for axes, picture in zip(row, line, strict=True):
                image = show(axes, picture, norm)
                axes.label_outer()
            row[0].set_ylabel(layer, fontweight="bold")
            figure.colorbar(image, ax=row, pad=0.01, aspect=14, extend="both", ticks=scale_ticks(norm))
        for top, bottom, picture in zip(grid[0], grid[-1], line, strict=True):
            top.set_title(f"steps {picture.window[0]}–{picture.window[1]}")
            bottom.set_xlabel("training sample, by $a+b$")
        figure.supylabel("test sample, by $a+b$", fontsize=8)
        figure.supxlabel(describe_blocks(line[0]), fontsize=6, color="0.35")
