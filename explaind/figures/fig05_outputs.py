"""Figure 5 for each choice of what is explained: similarities of four layers in two windows, rows for every choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from explaind.config.declarations import Figure
from explaind.figures.fig05 import LAYERS
from explaind.figures.similarities import draw_cells, load_cells
from explaind.studies.choices import LABELS

__all__ = ["FIGURE", "WINDOWS", "draw"]

FIGURE = Figure(
    label="5, by output",
    file="fig05_outputs",
    shows="figure 5 for each choice of the explained output",
    details="rows: choices and windows; summed over the last `study.outputs.width` updates of each window, for "
    "`study.outputs.tests` tests; colours and profiles as in figure 5",
    caption="**Figure 5, by explained output.** As figure 5, for log-probabilities of all outputs, logits of all outputs and the "
    "log-probability of the true class alone. Colours span the range of each panel's pairs of different samples.",
    inputs={"similarities": ("outputs.similarity", "middle", "late"), "phases": "phases"},
    options=("name", "data", "model", "study.outputs.choices", "figure.dpi"),
    requires=("study.outputs", "data.modulus"),
)

WINDOWS = FIGURE.inputs["similarities"][1:]


def draw(config: Mapping[str, Any], *, similarities: Sequence[Path], phases: Path, stem: Path) -> None:
    """Draw the figure: rows are windows of each choice, columns layers.

    Args:
        config: resolved configuration; read are the data, `study.outputs.choices` and `figure.dpi`.
        similarities: stores of kind "window" with a similarity for each choice, in the order of `WINDOWS`.
        phases: JSON of the recorded run.
        stem: output path without its suffix.
    """
    lines, names = [], []
    for choice in config["study"]["outputs"]["choices"]:
        cells = load_cells(config, similarities, phases, layers=LAYERS, choice=choice)
        for line in zip(*cells.values(), strict=True):
            lines.append(line)
            names.append(f"{LABELS[choice]}\nsteps {line[0].window[0]}–{line[0].window[1]}")
    size = (10.0, 0.6 + 2.3 * len(lines))
    draw_cells(lines, names, LAYERS, stem=stem, dpi=config["figure"]["dpi"], size=size)
