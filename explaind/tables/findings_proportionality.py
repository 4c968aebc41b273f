"""Do scores predict interventions: every experiment, intervention and kind of group, with a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from explaind.config.declarations import Table
from explaind.store.files import write_csv

__all__ = ["COLUMNS", "TABLE", "write"]

TABLE = Table(
    file="findings_proportionality",
    shows="do scores predict what interventions do?",
    details="One row per experiment, intervention, term and kind of group. Effects are changes of the mean loss of the test "
    "samples, of a language model of held-out sequences. "
    "Verdict: `predicts` if the whole interval of Spearman's correlation is at least 0.5 and that of the slope lies "
    "between 0.5 and 2; `predicts rank only` if Spearman's interval is above 0; else `does not predict`; `too few to say` below "
    "five interventions. Windows of different length are told apart: over many updates groups move far.",
    caption="**Findings on proportionality.** Measured effects of interventions against the effects that the scores predict, "
    "over all windows of updates of a length.",
    inputs={"findings": "proportionality", "points": "proportionality.points"},
    requires="study.proportionality",
    across=True,
    columns={
        "experiment": ("", "its folder"),
        "intervention": (
            "",
            "`reset`: the group gets its value at the window's start, in the model at the window's end; `remove, frozen path`: "
            "one term of the group's updates is taken out and all else stays as recorded; `remove, retrained`: the run goes on "
            "from the window's start without that term; `leave out`: it goes on without the gradients of training samples. Of a "
            "language model, `reset, one update` and `remove, one update`: the same in the simulated update of a checkpoint; "
            "`leave out`: this update is made anew without the gradients of a language",
        ),
        "term": (
            "",
            "of the updates: `all`, `kernel` or `regularization`; of a language model `batch`, `momentum` or `regularization`",
        ),
        "kind": (
            "",
            "of group: `layer`, `head`, `neuron` (a unit's incoming weights and bias), `parameter`; `random samples`, `ranked "
            "samples` (equal slices of the ranking by score); of a language model `component` (attention, MLP, norms or "
            "embedding of one layer), `layer`, `head` (query heads with their outputs, and key-value heads), `tensor`; "
            "`language` (the batch's sequences of a training language)",
        ),
        "updates": ("", "in a window"),
        "count": ("", "interventions"),
        "windows": ("", "of updates, from which they are"),
        "spearman": ("−1…1", "rank correlation of measured and predicted effects"),
        "spearman_low": ("−1…1", "95% bootstrap interval over the interventions: its lower end"),
        "spearman_high": ("−1…1", "its upper end"),
        "pearson": ("−1…1", "linear correlation"),
        "pearson_low": ("−1…1", "lower end of its interval"),
        "pearson_high": ("−1…1", "upper end of its interval"),
        "slope": ("", "Σ measured · predicted / Σ predicted²: 1 if the effect is what the score says"),
        "slope_low": ("", "lower end of its interval"),
        "slope_high": ("", "upper end of its interval"),
        "within": ("−1…1", "rank correlation within a window, mean of all windows"),
        "local": (
            "−1…1",
            "rank correlation of the measured effect with the gradient at the window's end times what was taken out; empty "
            "where the run goes on",
        ),
        "noise": ("nats", "largest effect of repeating a window without any change"),
        "verdict": (
            "",
            "`predicts`, `predicts rank only`, `does not predict` or `too few to say`, decided by code from the intervals",
        ),
    },
    also={"points_output": "proportionality"},
    also_columns={
        "points_output": {
            "experiment": ("", "its folder"),
            "window": (
                "",
                "of updates: its name, or its first update and the one behind its last; a checkpoint: its simulated update",
            ),
            "start": ("step", "first update of the window"),
            "stop": ("step", "behind its last"),
            "intervention": (
                "",
                "as above; `none`: the window repeated without any change, or the simulated update made again",
            ),
            "term": ("", "as above"),
            "kind": ("", "as above"),
            "group": ("", "name of the group of parameters or samples"),
            "size": ("", "parameters or samples in it"),
            "predicted": ("nats", "change of the mean loss: minus the group's scores"),
            "measured": (
                "nats",
                "change of the mean loss, against the recorded parameters at the window's end",
            ),
            "local": ("nats", "gradient at the window's end times the change of the parameters"),
        }
    },
)

COLUMNS = tuple(TABLE.columns)


def write(*, findings: Sequence[Path], points: Sequence[Path], output: Path, points_output: Path) -> None:
    """Put the experiments' rows together.

    Args:
        findings: CSV of each experiment's study `proportionality`.
        points: the CSV of all its interventions.
        output: CSV with `COLUMNS`.
        points_output: CSV of all interventions.
    """
    write_csv(pd.concat([pd.read_csv(path) for path in findings])[list(COLUMNS)], output)
    every = pd.concat([pd.read_csv(path) for path in points])
    write_csv(every[list(TABLE.also_columns["points_output"])], points_output)
