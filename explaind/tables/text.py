"""Text and loss by language: what there was to learn from, the share of it in a batch, and what was learned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from explaind.experiments.eurollm.batches import composition
from explaind.store.files import write_csv

__all__ = ["write"]


def write(config: Mapping[str, Any], *, languages: Path, output: Path, losses: Path | None = None) -> None:
    """Write one row per language and part.

    Args:
        config: `train.{batch,mix}`.
        languages: CSV of `explaind.text.tokens`.
        losses: CSV of `explaind.training.pretrain`; None for checkpoints of others' runs.
        output: CSV with the columns of `languages`, `per_batch` (sequences in a batch; 0 for held-out text) and `first_loss`,
            `last_loss` (nats per token: at the start and the end of training for held-out text; means of the first and the last
            interval between checkpoints for training text; empty without `losses`).
    """
    table = pd.read_csv(languages, keep_default_na=False)
    train = table.part == "train"
    table["per_batch"] = 0
    table.loc[train, "per_batch"] = composition(
        table.sequences[train].tolist(), config["train"]["batch"], config["train"]["mix"]
    )
    for name in ("first_loss", "last_loss"):
        table[name] = np.nan
    if losses:
        found = (
            pd.read_csv(losses, keep_default_na=False).sort_values("step").groupby(["part", "language"]).loss
        )
        key = pd.MultiIndex.from_frame(table[["part", "language"]])
        table["first_loss"], table["last_loss"] = (
            values.reindex(key).to_numpy() for values in (found.first(), found.last())
        )
    write_csv(table, output)
