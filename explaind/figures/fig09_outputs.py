"""Figure 9 for each choice of what is explained: kernels of every layer in four windows, groups of columns for the choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from explaind.config.declarations import Figure
from explaind.figures.matrices import describe_blocks, load_pictures, scale_ticks, show, signed_log
from explaind.figures.style import new_figure
from explaind.studies.choices import NAMES

__all__ = ["FIGURE", "WINDOWS", "draw"]

FIGURE = Figure(
    label="9, by output",
    file="fig09_outputs",
    shows="figure 9 for each choice of the explained output",
    details="groups of four columns: choices; tests and updates as in `fig04_outputs`; one colour scale per layer and choice",
    caption="**Figure 9, by explained output.** As figure 9, for log-probabilities of all outputs, logits of all outputs and the "
    "log-probability of the true class alone, with fewer test samples and updates.",
    inputs={"kernels": ("outputs.kernel", "early", "onset", "middle", "late"), "phases": "phases"},
    options=("name", "data", "model", "study.outputs.choices", "figure.dpi"),
    requires=("study.outputs", "data.modulus"),
)

WINDOWS = FIGURE.inputs["kernels"][1:]
PIXELS = 150


def draw(config: Mapping[str, Any], *, kernels: Sequence[Path], phases: Path, stem: Path) -> None:
    """Draw the figure: rows are layers, columns windows of each choice.

    Args:
        config: resolved configuration; read are the data, `study.outputs.choices` and `figure.dpi`.
        kernels: stores of kind "window" with a kernel for each choice, in the order of `WINDOWS`.
        phases: JSON of the recorded run.
        stem: output path without its suffix.
    """
    choices = config["study"]["outputs"]["choices"]
    with new_figure(8.6, stem, config["figure"]["dpi"], width=5 * len(choices)) as figure:
        parts = figure.subfigures(1, len(choices), squeeze=False)[0]
        for part, choice in zip(parts, choices, strict=True):
            pictures = load_pictures(
                config, kernels, phases, kind="kernel", layers=None, pixels=PIXELS, choice=choice
            )
            part.suptitle(NAMES[choice], fontweight="bold", fontsize=9)
            grid = part.subplots(len(pictures), len(kernels), sharex=True, sharey=True, squeeze=False)
            for row, (layer, line) in zip(grid, pictures.items(), strict=True):
                norm = signed_log(line)
                for axes, picture in zip(row, line, strict=True):
                    image = show(axes, picture, norm)
                    axes.tick_params(labelsize=5.5)
                    axes.label_outer()
                row[0].set_ylabel(layer, fontweight="bold")
                bar = part.colorbar(
                    image, ax=row, pad=0.01, aspect=14, extend="both", ticks=scale_ticks(norm)
                )
                bar.ax.tick_params(labelsize=5.5)
            for top, picture in zip(grid[0], line, strict=True):
                top.set_title(f"steps {picture.window[0]}–{picture.window[1]}", fontsize=7)
            part.supxlabel(
                f"training sample, by $a+b$; rows: test sample, by $a+b$\n{describe_blocks(line[0])}",
                fontsize=6,
            )
