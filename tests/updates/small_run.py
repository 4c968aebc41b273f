"""A language model's experiment on made-up tokens, small enough to train within a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from explaind.config import compose
from explaind.store import write_dataset

LANGUAGES, HELDOUT = ("eng", "deu", "ell"), ("eng", "ell", "est")


def configuration(*overrides: str) -> dict[str, Any]:
    """Eight updates, four checkpoints."""
    return compose("eurollm", "smoke", ["model.vocabulary=300", *overrides])


def write_tokens(path: Path, *, vocabulary: int = 300, context: int = 16) -> Path:
    """A store of sequences in which every language has its own most frequent tokens."""
    rng = np.random.default_rng(0)
    variables: dict[str, Any] = {}
    for part, names, count in (("train", LANGUAGES, 9), ("heldout", HELDOUT, 3)):
        index = np.repeat(np.arange(len(names)), count).astype(np.int16)
        sequences = (rng.geometric(0.2, (len(index), context)) + 40 * index[:, None]) % vocabulary
        variables[part] = ((f"{part}_sequence", "position"), sequences.astype(np.uint16))
        variables[f"{part}_language_index"] = (f"{part}_sequence", index)
        name = "language" if part == "train" else "heldout_language"
        variables[name] = (name, np.array(names))
    attrs = {"context": context, "vocabulary": vocabulary, "tokenizer": "0" * 64}
    write_dataset(xr.Dataset(variables, attrs=attrs), path, kind="tokens")
    return path
