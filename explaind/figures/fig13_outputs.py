"""Figure 13 for each choice of what is explained: similarities of every layer in four windows, sorted by label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from explaind.config.declarations import Figure
from explaind.figures.similarities import draw_cells, load_cells
from explaind.studies.choices import NAMES

__all__ = ["FIGURE", "WINDOWS", "draw"]

FIGURE = Figure(
    label="13, by output",
    file="fig13_outputs",
    shows="figure 13 for each choice of the explained output",
    details="groups of four columns: choices; sorted by label; updates, tests, colours and profiles as in `fig05_outputs`",
    caption="**Figure 13, by explained output.** As figure 13, sorted by label, for log-probabilities of all outputs, logits of "
    "all outputs and the log-probability of the true class alone.",
    inputs={"similarities": ("outputs.similarity", "early", "onset", "middle", "late"), "phases": "phases"},
    options=("name", "data", "model", "study.outputs.choices", "figure.dpi"),
    requires=("study.outputs", "data.modulus"),
)

WINDOWS = FIGURE.inputs["similarities"][1:]
PIXELS = 170


def draw(config: Mapping[str, Any], *, similarities: Sequence[Path], phases: Path, stem: Path) -> None:
    """Draw the figure: rows are layers, columns windows of each choice.

    Args:
        config: resolved configuration; read are the data, `study.outputs.choices` and `figure.dpi`.
        similarities: stores of kind "window" with a similarity for each choice, in the order of `WINDOWS`.
        phases: JSON of the recorded run.
        stem: output path without its suffix.
    """
    choices = config["study"]["outputs"]["choices"]
    lines: dict[str, list[Any]] = {}
    for choice in choices:
        cells = load_cells(config, similarities, phases, layers=None, choice=choice, pixels=PIXELS)
        for layer, line in cells.items():
            lines.setdefault(layer, []).extend(line)
    every = next(iter(lines.values()))
    groups = [NAMES[choice] for choice in choices for _ in similarities]
    columns = [
        f"{name if position % len(similarities) == 0 else ''}\nsteps {cell.window[0]}–{cell.window[1]}"
        for position, (name, cell) in enumerate(zip(groups, every, strict=True))
    ]
    size = (5 * len(choices), 12.5)
    draw_cells(
        list(lines.values()),
        list(lines),
        columns,
        stem=stem,
        dpi=config["figure"]["dpi"],
        size=size,
        orders=(1,),
    )
