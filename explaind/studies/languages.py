"""Influence between languages, made comparable: per training sequence, on the mean loss of a held-out language."""

from __future__ import annotations

import numpy as np
import xarray as xr

__all__ = ["own_rank", "per_sequence"]


def per_sequence(explained: xr.Dataset) -> np.ndarray:
    """Contribution of one training sequence of each language to each held-out language's loss [train, held-out], all components.

    Args:
        explained: store "update-languages".
    """
    scores = explained["batch"].sum("component").transpose("train_language", "heldout_language")
    return (scores / explained["per_batch"]).values


def own_rank(explained: xr.Dataset) -> dict[str, int]:
    """For every held-out language that is trained on: how many training languages lower its loss more than itself (0: none)."""
    values, names = per_sequence(explained), explained["train_language"].values.astype(str).tolist()
    ranks = {}
    for column, name in enumerate(explained["heldout_language"].values.astype(str)):
        if name in names:
            own = values[names.index(name), column]
            ranks[str(name)] = int((values[:, column] < own).sum())
    return ranks
