"""The findings on pretraining: each claim with its definition, the value measured, and a verdict reached by code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from explaind.store import read_dataset
from explaind.store.files import write_csv
from explaind.studies import dynamics, pretraining
from explaind.tables.findings import COLUMNS

__all__ = ["write"]


def write(
    config: Mapping[str, Any],
    *,
    updates: Path,
    reconstruction: Path,
    languages: list[Path],
    output: Path,
    losses: Path | None = None,
) -> None:
    """Measure every claim and write the verdicts.

    Args:
        config: `data.languages`.
        updates: store "updates".
        reconstruction: the table of this name.
        languages: stores "update-languages".
        losses: CSV of `explaind.training.pretrain`; None for checkpoints of others' runs.
        output: CSV with `explaind.tables.findings.COLUMNS`.
    """
    explained = read_dataset(updates, kind="updates")
    scores = explained["score"]
    found = [
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
    write_csv(pd.DataFrame([asdict(finding) for finding in found], columns=COLUMNS), output)
