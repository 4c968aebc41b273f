"""The findings on pretraining: each claim with its definition, the value measured, and a verdict reached by code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from explaind.config.declarations import Table
from explaind.store import read_dataset
from explaind.store.files import write_csv
from explaind.studies import dynamics, pretraining
from explaind.studies.finding import COLUMNS

__all__ = ["TABLE", "write"]

TABLE = Table(
    file="findings_pretraining",
    shows="what the language model's figures must show, measured",
    details="One row per claim.",
    caption="The paper's claims about pretraining, each with its definition, the value measured, and a verdict.",
    inputs={
        "updates": "updates",
        "reconstruction": "reconstruction",
        "languages": "explain_languages",
        "losses": "pretrain.losses",
    },
    optional=("losses",),
    options=("data.languages",),
    requires="study.languages",
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


def write(
    config: Mapping[str, Any],
    *,
    updates: Path,
    reconstruction: Path,
    languages: Sequence[Path],
    losses: Path | None = None,
    output: Path,
) -> None:
    """Measure every claim and write the verdicts.

    Args:
        config: `data.languages`.
        updates: store "updates".
        reconstruction: the table of this name.
        languages: stores "update-languages".
        losses: CSV of `explaind.stages.pretrain`; None for checkpoints of others' runs.
        output: CSV with `explaind.studies.finding.COLUMNS`.
    """
    explained = read_dataset(updates, kind="updates")
    scores = explained["score"]
    findings = [
        *(
            [
                pretraining.loss_falls(
                    pd.read_csv(losses, keep_default_na=False), set(config["data"]["languages"])
                )
            ]
            if losses
            else []
        ),
        pretraining.reconstruction(pd.read_csv(reconstruction), explained.attrs["tolerance"]),
        dynamics.mlp_first_attention_later(scores),
        dynamics.embeddings_are_small(scores),
        dynamics.depth_moves(scores),
        dynamics.regularization_of_output_turns(scores),
        dynamics.regularization_grows(scores, explained["lr"].values),
        dynamics.momentum_oscillates(scores),
        pretraining.languages_help_themselves(
            [read_dataset(path, kind="update-languages") for path in languages]
        ),
    ]
    write_csv(pd.DataFrame([asdict(finding) for finding in findings], columns=COLUMNS), output)
