"""Figure 4 for each choice of what is explained: the decoder's kernel in three windows, one row per choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from explaind.config.declarations import Figure
from explaind.figures.matrices import describe_blocks, load_pictures, scale_ticks, show, signed_log
from explaind.figures.style import new_figure
from explaind.studies.choices import LABELS

__all__ = ["FIGURE", "WINDOWS", "draw"]

FIGURE = Figure(
    label="4, by output",
    file="fig04_outputs",
    shows="figure 4 for each choice of the explained output",
    details="rows: choices; summed over the last `study.outputs.width` updates of each window, for `study.outputs.kernel_tests` "
    "tests; one symmetric logarithmic scale per row",
    caption="**Figure 4, by explained output.** As figure 4, for log-probabilities of all outputs, logits of all outputs and the "
    "log-probability of the true class alone, with fewer test samples and updates. One colour scale per row.",
    inputs={"kernels": ("outputs.kernel", "early", "middle", "late"), "phases": "phases"},
    options=("name", "data", "model", "study.outputs.choices", "figure.dpi"),
    requires=("study.outputs", "data.modulus"),
)

WINDOWS = FIGURE.inputs["kernels"][1:]
PIXELS = 500


def draw(
    config: Mapping[str, Any], *, kernels: Sequence[Path], phases: Path, stem: Path, layer: str = "decoder"
) -> None:
    """Draw the figure.

    Args:
        config: resolved configuration; read are the data, `study.outputs.choices` and `figure.dpi`.
        kernels: stores of kind "window" with a kernel for each choice, in the order of the columns (`WINDOWS`).
        phases: JSON of the recorded run.
        stem: output path without its suffix.
        layer: whose kernel.
    """
    choices = config["study"]["outputs"]["choices"]
    with new_figure(2.2 * len(choices) + 0.4, stem, config["figure"]["dpi"]) as figure:
        grid = figure.subplots(len(choices), len(kernels), sharex=True, sharey=True, squeeze=False)
        for row, choice in zip(grid, choices, strict=True):
            line = load_pictures(
                config, kernels, phases, kind="kernel", layers=[layer], pixels=PIXELS, choice=choice
            )[layer]
            norm = signed_log(line)
            for axes, picture in zip(row, line, strict=True):
                image = show(axes, picture, norm)
                axes.label_outer()
                if axes in grid[0]:
                    axes.set_title(f"steps {picture.window[0]}–{picture.window[1]}")
            row[0].set_ylabel(LABELS[choice])
            figure.colorbar(image, ax=row, pad=0.01, aspect=20, extend="both", ticks=scale_ticks(norm))
        for axes in grid[-1]:
            axes.set_xlabel("training sample, by $a+b$")
        figure.supylabel(f"test sample, by $a+b$ (influence through the {layer})", fontsize=8)
        figure.supxlabel(describe_blocks(line[0]), fontsize=6, color="0.35")
