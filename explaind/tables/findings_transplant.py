"""Every claim about layers that are moved between checkpoints and networks, measured, with a verdict that code reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from explaind.config.declarations import Table
from explaind.store.files import read_json, write_csv
from explaind.studies import swap_claims, transplant_claims
from explaind.studies.finding import COLUMNS

__all__ = ["TABLE", "write"]

TABLE = Table(
    file="findings_transplant",
    shows="what transplanted and swapped layers do, measured",
    details="One row per claim, over the seeds of `study.transplant`. The labels of the published code for "
    "figures 3b and 11 look exchanged, so each claim is measured for the layers that the paper names, and for those that remain.",
    caption="**Findings on moved layers.** The claims about figures 3b, 10 and 11, measured over seeds.",
    inputs={
        "transplants": "transplants",
        "training": "transplants.curves",
        "swapped": "swap.curves",
        "cyclic": "swap_errors.cyclic",
        "metrics": "record.metrics",
        "phases": "phases",
    },
    options=("study.swap.combination",),
    requires=(
        "study.transplant.checkpoints.nothing",
        "study.transplant.checkpoints.attention",
        "study.transplant.checkpoints.attention_linear1",
        "study.transplant.checkpoints.outer",
    ),
    columns={
        "figure": ("", "where the claim can be seen"),
        "claim": ("", "the statement"),
        "measure": ("", "the definition of what was measured, with the thresholds of the verdict"),
        "measured": ("", "the values found"),
        "expected": ("", "what the claim implies"),
        "verdict": (
            "",
            "`reproduced`, `partly reproduced` or `not reproduced`, decided by code from the values",
        ),
    },
)

#: As the paper names them, and the layers around attention and linear 1.
NAMED = {"attention_linear1": "attention and linear 1", "attention": "attention"}
AROUND = {"outer": "embedding, linear 2 and decoder"}


def write(
    config: Mapping[str, Any],
    *,
    transplants: Path,
    training: Path,
    swapped: Path,
    cyclic: Path,
    metrics: Path,
    phases: Path,
    output: Path,
) -> None:
    """Measure every claim and write the verdicts.

    Args:
        config: `study.swap.combination`.
        transplants, training: CSV of `explaind.tables.transplants`: outcomes and curves.
        swapped: CSV of `explaind.studies.swap`.
        cyclic: CSV of `explaind.tables.swap_errors`.
        metrics: CSV of the recorded run.
        phases: JSON of the recorded run.
        output: CSV with the columns of the findings.
    """
    table = pd.read_csv(transplants, dtype={"memorized_at": "Int64", "generalized_at": "Int64"})
    learning, run, swaps = (pd.read_csv(path) for path in (training, metrics, swapped))
    claims, outer = transplant_claims, config["study"]["swap"]["combination"]
    (inner, words), (around, others) = next(iter(NAMED.items())), next(iter(AROUND.items()))
    findings = [
        *(
            claims.generalises_soon(table, name, said, "3b" if name == inner else "11")
            for name, said in NAMED.items()
        ),
        claims.generalises_soon(table, around, others, "11"),
        claims.which_layers(table, inner, around),
        claims.control_does_not_generalise(table),
        claims.bypasses_memorisation(table, run, inner, words),
        claims.bypasses_memorisation(table, run, around, others),
        *(
            claims.earlier_checkpoints(table, learning, name, said)
            for name, said in ((inner, words), (around, others))
            if table[table.combination == name].checkpoint_step.nunique() > 1
        ),
        swap_claims.outer_layers_improve(swaps, outer, read_json(phases)),
        swap_claims.others_decrease(swaps, outer),
        swap_claims.cyclic_errors_shrink(pd.read_csv(cyclic)),
    ]
    write_csv(pd.DataFrame([asdict(finding) for finding in findings], columns=COLUMNS), output)
