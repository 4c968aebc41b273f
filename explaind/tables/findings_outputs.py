"""The claims about figures 3a, 4, 5, 9, 12 and 13 for each choice of what is explained, and about frequencies over training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from explaind.config.declarations import Table
from explaind.store.files import read_json, write_csv
from explaind.studies import geometry, growth
from explaind.studies.claims import ONSET_ACCURACY
from explaind.studies.finding import COLUMNS, Finding
from explaind.studies.spectrum import CLAIMS

__all__ = ["TABLE", "write"]

TABLE = Table(
    file="findings_outputs",
    shows="the claims for each choice of the explained output, measured",
    details="One row per choice and claim. Log-probabilities of wrong answers keep falling while the model grows confident, and "
    "importances in their units keep growing; logits do not saturate in this way. See docs/method.md, section 11.",
    caption="**Findings by explained output.** The claims about figures 3a, 4, 5, 9, 12 and 13, measured on log-probabilities of "
    "all outputs, logits and the true class, and frequencies over training.",
    inputs={
        "importances": "importances",
        "metrics": "record.metrics",
        "phases": "phases",
        "structure": "structure_outputs",
        "spectra": "spectra",
        "frequencies": "frequencies_table",
    },
    requires=("study.outputs", "study.periodicity", "study.frequencies"),
    columns={
        "choice": ("", "what is explained; empty for claims about the model itself"),
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


def write(
    *,
    importances: Path,
    metrics: Path,
    phases: Path,
    structure: Path,
    spectra: Path,
    frequencies: Path,
    output: Path,
) -> None:
    """Measure the claims; those about figure 3a on curves interpolated between the updates that were sampled.

    Args:
        importances: CSV of `explaind.studies.importances`.
        metrics: CSV of the recorded run.
        phases: JSON of the recorded run.
        structure: CSV of `explaind.tables.structure_outputs`.
        spectra: CSV of `explaind.studies.spectra`.
        frequencies: CSV of `explaind.tables.frequencies_table`.
        output: CSV with the columns of the findings, after `choice`.
    """
    sampled, matrices, coefficients = (pd.read_csv(path) for path in (importances, structure, spectra))
    run, memorised = pd.read_csv(metrics), read_json(phases)["memorization_step"]
    found: list[tuple[str, Finding]] = []
    for choice in dict.fromkeys(sampled.choice):
        found += [(choice, one) for one in _growth(sampled[sampled.choice == choice], run, memorised)]
        found += [(choice, one) for one in _matrices(matrices[matrices.choice == choice])]
    for choice in dict.fromkeys(coefficients.choice):
        rows = coefficients[(coefficients.choice == choice) & (coefficients.basis == "frequency")]
        found += [(choice, geometry.equal_labels_only(rows)), (choice, geometry.few_frequencies(rows))]
    summary = pd.read_csv(frequencies)
    since = min(memorised or 0, int(summary.step.max()))
    quantities = list(dict.fromkeys(summary.quantity))
    found += [("", claim(summary, name, since)) for claim in CLAIMS for name in quantities]
    table = pd.DataFrame([{"choice": choice, **asdict(one)} for choice, one in found])
    write_csv(table[["choice", *COLUMNS]], output)


def _growth(sampled: pd.DataFrame, run: pd.DataFrame, memorised: int | None) -> Iterator[Finding]:
    """The claims about figure 3a."""
    steps = np.arange(sampled.step.max() + 1)

    def curve(layer: str, term: str) -> np.ndarray:
        rows = sampled[sampled.layer == layer]
        return np.interp(steps, rows.step, rows[term])

    kernel, regularization = curve("all", "kernel"), curve("all", "regularization")
    layers = {name: curve(name, "kernel") for name in sampled.layer.unique() if name != "all"}
    begun = run.step[run.train_accuracy > ONSET_ACCURACY]
    onset = min(int(begun.iloc[0]) if len(begun) else 0, len(steps) - 1)
    until = len(steps) - 1 if memorised is None else min(memorised, len(steps) - 1)
    yield growth.grow_together(kernel, regularization, onset)
    yield growth.peak_and_decline(kernel, regularization, onset)
    yield growth.regularization_dominates_end(kernel, regularization)
    yield growth.decoder_leads_memorisation(layers, onset, until)
    yield growth.decoder_second_peak(layers, onset)
    yield growth.embedding_rises_late(layers, onset)


def _matrices(table: pd.DataFrame) -> Iterator[Finding]:
    """The claims about figures 4, 9, 5 and 13."""
    yield geometry.bands_always(table)
    yield geometry.cycles_appear(table)
    yield geometry.cycles_slow_down(table)
    yield geometry.higher_layers_cyclic(table)
