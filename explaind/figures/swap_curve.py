"""The swap curve: accuracy of earlier checkpoints with layers of the last one in the place of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.lines import Line2D

from explaind.config.declarations import Figure
from explaind.figures.style import TERM_COLOURS, layer_colour, mark_phases, new_figure, panel
from explaind.store.files import read_json

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="swap",
    file="swap_curve",
    shows="accuracy of earlier checkpoints with the last one's layers",
    details="**a** test accuracy of every few checkpoints, as they are and with the layers of "
    "`study.swap.combination` of the last checkpoint; **b** the change, for every combination of layers. No "
    "training in between. Shaded: 95% bootstrap intervals over "
    "tests. Dashed: memorised, generalised",
    caption="**Swap curve.** Test accuracy of the run's checkpoints when layers are replaced by those of the "
    "last checkpoint, and its change; 95% bootstrap intervals over tests.",
    inputs={"curves": "swap.curves", "phases": "phases"},
    options=("figure.dpi", "study.transplant.layers", "study.swap.combination"),
    requires="study.swap",
)


def draw(config: Mapping[str, Any], *, curves: Path, phases: Path, stem: Path) -> None:
    """Draw the figure.

    Args:
        config: `figure.dpi`; `study.transplant.layers`; `study.swap.combination`.
        curves: CSV of the study.
        phases: JSON of the recorded run.
        stem: output path without its suffix.
    """
    table, run = pd.read_csv(curves), read_json(phases)
    main, layers = config["study"]["swap"]["combination"], config["study"]["transplant"]["layers"]
    with new_figure(3.1, stem, config["figure"]["dpi"]) as figure:
        left, right = figure.subplots(1, 2, sharex=True)
        part = table[table.combination == main]
        for state, name, colour in zip(
            ("original", "swapped"), ("as they are", "swapped"), TERM_COLOURS, strict=True
        ):
            left.fill_between(
                part.step, part[f"{state}_low"], part[f"{state}_high"], color=colour, alpha=0.25, lw=0
            )
            left.plot(part.step, part[state], color=colour, label=name)
        left.set_ylim(-0.02, 1.04)
        left.set_ylabel("test accuracy")
        handles, names = left.get_legend_handles_labels()
        phase = Line2D([], [], color="0.45", linewidth=0.7, linestyle=(0, (4, 2)))
        left.legend([*handles, phase], [*names, "memorised, generalised"], loc="upper left")
        panel(left, "a", f"{', '.join(layers[main])} of the last:\n     test accuracy")
        for position, (name, rows) in enumerate(table.groupby("combination", sort=False)):
            colour = layer_colour(position)
            right.fill_between(rows.step, rows.low, rows.high, color=colour, alpha=0.2, lw=0)
            right.plot(rows.step, rows.difference, color=colour, label=", ".join(layers[name]))
        right.axhline(0, color="0.3", linewidth=0.6)
        right.set_ylabel("change of test accuracy")
        panel(right, "b", "Change by swapping,\n     every combination")
        for axes in (left, right):
            mark_phases(axes, run)
            axes.set_xlim(0, table.step.max())
            axes.set_xlabel("checkpoint (training step)")
        handles, names = right.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2, columnspacing=1.2)
