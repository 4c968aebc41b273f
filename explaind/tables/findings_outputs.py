"""The claims about Figure 3a once more, on logits instead of log-probabilities (see `explaind.studies.logits`)."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from explaind.config.declarations import Table
from explaind.store.files import read_json, write_csv
from explaind.studies import growth
from explaind.tables.findings import COLUMNS, ONSET_ACCURACY

__all__ = ["TABLE", "write"]

TABLE = Table(
    file="findings_logits",
    shows="figure 3a's claims on logits, measured",
    details="One row per claim. Log-probabilities of wrong answers keep falling while the model grows confident, and "
    "importances in their units keep growing; logits do not saturate in this way.",
    caption="**Findings on logits.** The claims about figure 3a, measured on the outputs before the log-softmax, every few "
    "updates.",
    inputs={"logits": "logits", "metrics": "record.metrics", "phases": "phases"},
    requires="study.logits",
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


def write(*, logits: Path, metrics: Path, phases: Path, output: Path) -> None:
    """Measure the claims on curves interpolated between the updates that were sampled.

    Args:
        logits: CSV of `explaind.studies.logits`.
        metrics: CSV of the recorded run.
        phases: JSON of the recorded run.
        output: CSV with the columns of the findings.
    """
    sampled, run = pd.read_csv(logits), pd.read_csv(metrics)
    steps = np.arange(sampled.step.max() + 1)

    def curve(layer: str, term: str) -> np.ndarray:
        rows = sampled[sampled.layer == layer]
        return np.interp(steps, rows.step, rows[term])

    kernel, regularization = curve("all", "kernel"), curve("all", "regularization")
    layers = {name: curve(name, "kernel") for name in sampled.layer.unique() if name != "all"}
    begun = run.step[run.train_accuracy > ONSET_ACCURACY]
    onset = min(int(begun.iloc[0]) if len(begun) else 0, len(steps) - 1)
    memorised = read_json(phases)["memorization_step"]
    until = len(steps) - 1 if memorised is None else min(memorised, len(steps) - 1)
    findings = [
        growth.grow_together(kernel, regularization, onset),
        growth.peak_and_decline(kernel, regularization, onset),
        growth.regularization_dominates_end(kernel, regularization),
        growth.decoder_leads_memorisation(layers, onset, until),
        growth.decoder_second_peak(layers, onset),
        growth.embedding_rises_late(layers, onset),
    ]
    findings = [replace(finding, figure="3a, on logits") for finding in findings]
    write_csv(pd.DataFrame([asdict(finding) for finding in findings], columns=COLUMNS), output)
