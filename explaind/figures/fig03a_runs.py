"""Figure 3a for every run: accuracy and the influence of each layer, one panel per setting and seed.

A layer's importance B({s}) (method.md, section 3) is smoothed over 2.5% of the run and divided by the panel's largest value after
the first 5% of the run, so that runs of different size can be compared by shape; accuracies are on the same axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from explaind.config.declarations import Figure
from explaind.figures.run_panels import run_panels
from explaind.figures.style import TERM_COLOURS, layer_colour, mark_phases
from explaind.store import read_dataset
from explaind.store.files import read_json
from explaind.studies.growth import smooth

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="3a, every run",
    file="fig03a_runs",
    shows="accuracy and influence of each layer in every run",
    details="One row per setting of `study.runs`, one column per seed. Importance of each layer's kernel at each step, smoothed "
    "over 2.5% of the run, relative to the panel's largest value after the first 5% of the run; train and test accuracy in grey "
    "and black. Dashed: memorised, generalised.",
    caption="**Figure 3a, every run.** As panels (i) and (iii) of figure 3a for every seed (columns) in every setting (rows): "
    "accuracies, and the importance of the kernel by layer relative to its largest value in the run.",
    inputs={"runs": "explain_run"},
    options=("figure.dpi",),
    requires=("study.runs", "figure.regularization_stride"),
)

START = 0.05  # of the run: its first steps have importances that nothing later reaches


def draw(config: Mapping[str, Any], *, runs: Sequence[Path], stem: Path) -> None:
    """Draw the figure.

    Args:
        config: resolved configuration; read is `figure`.
        runs: folders `<setting>/<seed>` of `explaind.studies.explain_run`.
        stem: output path without its suffix.
    """
    with run_panels(runs, stem, config["figure"]["dpi"]) as (figure, panels):
        for axes, path in panels:
            _run(axes, path)
        figure.supylabel("importance (largest: 1), accuracy", fontsize="medium")
        handles, names = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=4, columnspacing=1.2)


def _run(axes: Axes, path: Path) -> None:
    """One panel."""
    scores = read_dataset(path / "influence.zarr", kind="influence")
    metrics, phases = pd.read_csv(path / "metrics.csv"), read_json(path / "phases.json")
    curves = {
        str(name): smooth(scores["importance_kernel"].sel(layer=name).values) for name in scores.layer.values
    }
    steps = scores["step"].values
    largest = max(np.max(curve[round(START * len(steps)) :]) for curve in curves.values()) or 1.0
    axes.plot(metrics.step, metrics.train_accuracy, color="0.7", label="train accuracy", linewidth=0.9)
    axes.plot(
        metrics.step, metrics.test_accuracy, color=TERM_COLOURS[0], label="test accuracy", linewidth=0.9
    )
    for position, (name, curve) in enumerate(curves.items()):
        axes.plot(steps, curve / largest, color=layer_colour(position), label=name, linewidth=0.9)
    axes.set_ylim(-0.03, 1.05)
    axes.set_xlim(0, len(steps))
    mark_phases(axes, phases)
