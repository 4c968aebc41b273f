"""Every claim about a grokking run, measured on the files of one run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from explaind.store import read_dataset
from explaind.store.files import read_json
from explaind.studies import exactness, geometry, growth, spectrum
from explaind.studies.finding import Finding

__all__ = ["ONSET_ACCURACY", "measure_run"]

#: Memorisation begins when train accuracy first exceeds this: far above chance (about 1%), far below memorised (99%).
ONSET_ACCURACY = 0.1


def measure_run(run: Path) -> list[Finding]:
    """The findings of one run, from its folder of `explaind.studies.explain_run`."""
    metrics, phases = pd.read_csv(run / "metrics.csv"), read_json(run / "phases.json")
    structure, periodicity = pd.read_csv(run / "structure.csv"), pd.read_csv(run / "periodicity.csv")
    frequencies = pd.read_csv(run / "frequencies.csv")
    identical = read_json(run / "summary.json")["identical_to_unrecorded"]
    return [
        *_exactness(run),
        *([] if identical is None else [exactness.recording_changes_nothing(identical)]),
        *_growth(run / "influence.zarr", metrics, phases),
        geometry.bands_always(structure),
        geometry.cycles_appear(structure),
        geometry.cycles_slow_down(structure),
        geometry.higher_layers_cyclic(structure),
        geometry.one_cosine_dominates(periodicity, read_json(run / "labels.json")["cycle"]),
        *_frequencies(spectrum.summarise(frequencies), phases["memorization_step"]),
    ]


def _exactness(run: Path) -> list[Finding]:
    scores = read_dataset(run / "influence.zarr", kind="influence").astype(np.float64)
    change = (scores["kernel"] + scores["regularization"]).sum("layer").transpose("test", "output")
    return [
        exactness.completeness(
            scores["initial"].values, change.values, scores["residual"].values, scores["final"].values
        ),
        exactness.updates_are_rebuilt(pd.read_csv(run / "replay.csv")),
    ]


def _frequencies(summary: pd.DataFrame, memorised: int | None) -> list[Finding]:
    """Claims about the power of frequencies after memorisation; of a run that never memorises, from its start."""
    since = min(memorised or 0, int(summary.step.max()))
    quantities = list(dict.fromkeys(summary.quantity))
    return [claim(summary, name, since) for claim in spectrum.CLAIMS for name in quantities]


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
