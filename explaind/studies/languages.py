"""Influence between languages, made comparable: per training sequence, on the mean loss of a held-out language."""

from __future__ import annotations

import numpy as np
import xarray as xr

__all__ = ["own_rank", "per_sequence"]


def per_sequence(found: xr.Dataset) -> np.ndarray:
    """Contribution of one training sequence of each language to each held-out language's loss [train, held-out], all components.

    Args:
        found: store "update-languages".
    """
    scores = found["batch"].sum("component").transpose("train_language", "heldout_language")
    return (scores / found["per_batch"]).values


def own_rank(found: xr.Dataset) -> dict[str, int]:
    """For every held-out language that is trained on: how many training languages lower its loss more than itself (0: none)."""
    values, names = per_sequence(found), found["train_language"].values.astype(str).tolist()
    ranks = {}
    for column, name in enumerate(found["heldout_language"].values.astype(str)):
        if name in names:
            own = values[names.index(name), column]
            ranks[str(name)] = int((values[:, column] < own).sum())
    return ranks
