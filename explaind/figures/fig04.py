"""Figure 4: how each training sample influences each test sample through the decoder, in three windows of training.

The value of a pair is the influence I summed over the layer's parameters, the window's steps and all outputs, in output units.
Rows and columns are sorted by a+b. The colour scale is symmetric and logarithmic, the same in all panels.
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
    label="4",
    file="fig04_kernel_decoder",
    shows="kernel of the decoder, test x train",
    details="in three windows of training, sorted by a+b; symmetric logarithmic colours, one scale",
    caption="**Figure 4.** Influence of each training sample (columns) on each test sample (rows) through the decoder, "
    "summed over outputs and over the updates of one window. Both are sorted by a + b; the colour scale is symmetric "
    "and logarithmic.",
    inputs={"windows": ("window", "early", "middle", "late"), "phases": "phases"},
    options=("name", "data", "model", "figure.dpi"),
    requires=("study.kernel", "data.modulus"),
)

WINDOWS = FIGURE.inputs["windows"][1:]
PIXELS = 500


def draw(
    config: Mapping[str, Any], *, windows: Sequence[Path], phases: Path, stem: Path, layer: str = "decoder"
) -> None:
    """Draw the figure.

    Args:
        config: resolved configuration; read are the data and `figure.dpi`.
        windows: stores of kind "window", in the order of the panels (`WINDOWS`).
        phases: JSON of the recorded run.
        stem: output path without its suffix.
        layer: whose kernel.
    """
    pictures = load_pictures(config, windows, phases, kind="kernel", layers=[layer], pixels=PIXELS)[layer]
    norm = signed_log(pictures)
    with new_figure(2.75, stem, config["figure"]["dpi"]) as figure:
        row = figure.subplots(1, len(pictures), sharey=True)
        for axes, picture in zip(row, pictures, strict=True):
            image = show(axes, picture, norm)
            axes.label_outer()
            axes.set_title(f"steps {picture.window[0]}–{picture.window[1]}")
            axes.set_xlabel("training sample, by $a+b$")
        row[0].set_ylabel("test sample, by $a+b$")
        bar = figure.colorbar(image, ax=row, pad=0.01, aspect=30, extend="both", ticks=scale_ticks(norm))
        bar.set_label(f"influence through the {layer}")
        figure.supxlabel(describe_blocks(pictures[0]), fontsize=6, color="0.35")
