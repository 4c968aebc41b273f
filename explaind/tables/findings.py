"""The findings: each claim about the run with its definition, the value measured, and a verdict reached by code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from explaind.config.declarations import Table
from explaind.store import read_dataset
from explaind.store.files import read_json, write_csv
from explaind.studies import exactness, geometry, growth
from explaind.studies.finding import Finding

__all__ = ["COLUMNS", "ONSET_ACCURACY", "TABLE", "write"]

TABLE = Table(
    file="findings",
    shows="what the figures must show, measured",
    details="One row per claim.",
    caption="**Findings.** What the figures must show, as measured numbers.",
    inputs={
        "influence": "accumulate",
        "metrics": "record.metrics",
        "phases": "phases",
        "summary": "record.summary",
        "certificate": "certify",
        "structure": "structure",
        "periodicity": "periodicity",
    },
    options=("data.modulus",),
    requires="study.periodicity",
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

COLUMNS = tuple(TABLE.columns)

#: Memorisation begins when train accuracy first exceeds this: far above chance (about 1%), far below memorised (99%).
ONSET_ACCURACY = 0.1


def write(
    config: Mapping[str, Any],
    *,
    influence: Path,
    metrics: Path,
    phases: Path,
    summary: Path,
    certificate: Path,
    structure: Path,
    periodicity: Path,
    output: Path,
) -> None:
    """Measure every claim and write the verdicts.

    Args:
        config: resolved configuration; read is `data.modulus`.
        influence: store of kind "influence".
        metrics: CSV of the recorded run.
        phases: JSON of the recorded run.
        summary: JSON of the recorded run.
        certificate: store of kind "certificate".
        structure: CSV of `explaind.tables.structure`.
        periodicity: CSV of `explaind.studies.periodicity`.
        output: CSV with `COLUMNS`.
    """
    findings = [
        *_exactness(influence, summary, certificate),
        *_growth(influence, pd.read_csv(metrics), read_json(phases)),
        *_geometry(pd.read_csv(structure), pd.read_csv(periodicity), int(config["data"]["modulus"])),
    ]
    write_csv(pd.DataFrame([asdict(finding) for finding in findings], columns=COLUMNS), output)


def _exactness(influence: Path, summary: Path, certificate: Path) -> list[Finding]:
    scores = read_dataset(influence, kind="influence").astype(np.float64)
    ledger = read_dataset(certificate, kind="certificate")
    change = (scores["kernel"] + scores["regularization"]).sum("layer").transpose("test", "output")
    return [
        exactness.completeness(
            scores["initial"].values, change.values, scores["residual"].values, scores["final"].values
        ),
        exactness.updates_are_rebuilt(
            ledger["replay_relative"].values, float(ledger.attrs["tolerance"]), ledger.attrs["passed"]
        ),
        exactness.recording_changes_nothing(read_json(summary)["identical_to_unrecorded"]),
    ]


def _growth(influence: Path, metrics: pd.DataFrame, phases: Mapping[str, Any]) -> list[Finding]:
    """Claims about Figure 3a. A run that never memorises is measured from its first step to its last."""
    scores = read_dataset(influence, kind="influence")
    kernel = scores["importance_kernel_all"].values
    regularization = scores["importance_regularization_all"].values
    layers = {
        str(name): scores["importance_kernel"].sel(layer=name).values for name in scores["layer"].values
    }
    begun = metrics.step[metrics.train_accuracy > ONSET_ACCURACY]
    onset = min(int(begun.iloc[0]) if len(begun) else 0, len(kernel) - 1)
    memorised, generalised = phases["memorization_step"], phases["generalization_step"]
    until = len(kernel) - 1 if memorised is None else min(memorised, len(kernel) - 1)
    return [
        exactness.grokking(metrics, memorised, generalised),
        growth.grow_together(kernel, regularization, onset),
        growth.peak_and_decline(kernel, regularization, onset),
        growth.regularization_dominates_end(kernel, regularization),
        growth.decoder_leads_memorisation(layers, onset, until),
        growth.decoder_second_peak(layers, onset),
        growth.embedding_rises_late(layers, onset),
    ]


def _geometry(structure: pd.DataFrame, periodicity: pd.DataFrame, modulus: int) -> list[Finding]:
    return [
        geometry.bands_always(structure),
        geometry.cycles_appear(structure),
        geometry.cycles_slow_down(structure),
        geometry.higher_layers_cyclic(structure),
        geometry.one_cosine_dominates(periodicity, modulus),
    ]
