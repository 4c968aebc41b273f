"""Text and loss by language: what there was to learn from, the share of it in a batch, and what was learned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from explaind.config.declarations import Table
from explaind.experiments.language.batches import composition
from explaind.store.files import write_csv

__all__ = ["TABLE", "write"]

TABLE = Table(
    file="text",
    shows="text and loss of every language",
    details="One row per language and part.",
    caption="Characters, tokens and sequences of every language, its share of a batch, and its loss at the start and the end "
    "of training.",
    inputs={"languages": "tokens.table", "losses": "pretrain.losses"},
    optional=("losses",),
    options=("train.batch", "train.mix"),
    requires="checkpoints",
    columns={
        "language": ("", "ISO 639-3 code"),
        "name": ("", "English name"),
        "part": ("", "`train` or `heldout`"),
        "paragraphs": ("", "of the cleaned text"),
        "characters": ("", "of the paragraphs, without line ends"),
        "bytes": ("", "of the paragraphs, without line ends"),
        "tokens": ("", "of the paragraphs, without `</s>`"),
        "sequences": ("", "packed, of `data.context` tokens"),
        "bytes_per_token": ("bytes", "how well the tokenizer compresses the language"),
        "per_batch": ("sequences", "of a training batch; 0 for held-out text"),
        "first_loss": (
            "nats per token",
            "held-out: before training; train: mean over the first interval between checkpoints; empty for others' checkpoints",
        ),
        "last_loss": ("nats per token", "held-out: after training; train: mean over the last interval"),
    },
)


def write(config: Mapping[str, Any], *, languages: Path, losses: Path | None = None, output: Path) -> None:
    """Write one row per language and part.

    Args:
        config: `train.{batch,mix}`.
        languages: CSV of `explaind.stages.tokens`.
        losses: CSV of `explaind.stages.pretrain`; None for checkpoints of others' runs.
        output: CSV with the columns of `TABLE`: those of `languages`, and three more. Without `losses` there are no losses.
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
        by_language = (
            pd.read_csv(losses, keep_default_na=False).sort_values("step").groupby(["part", "language"]).loss
        )
        key = pd.MultiIndex.from_frame(table[["part", "language"]])
        table["first_loss"], table["last_loss"] = (
            values.reindex(key).to_numpy() for values in (by_language.first(), by_language.last())
        )
    write_csv(table, output)
