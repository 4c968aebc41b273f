"""What pretraining must show before its dynamics are read: it learns, scores are exact, languages learn from their own text."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from explaind.studies.finding import Finding, verdict
from explaind.studies.languages import own_rank

__all__ = ["languages_help_themselves", "loss_falls", "reconstruction"]

RELATIVE_ERROR, LARGEST_ERROR = 1e-4, 1e-3  # the paper's order, and what is still small


def loss_falls(losses: pd.DataFrame, trained: set[str]) -> Finding:
    """The run learned every language that it was trained on."""
    held = losses[losses.part == "heldout"].sort_values("step").groupby("language").loss
    train = losses[losses.part == "train"].sort_values("step").groupby("language").loss
    fall = 1 - train.last() / train.first()
    unseen = 1 - held.last() / held.first()
    own = unseen[unseen.index.isin(trained)]
    other = unseen[~unseen.index.isin(trained)]
    measured = (
        f"training text: {100 * fall.min():.0f} to {100 * fall.max():.0f} % lower; held-out text of the same languages: "
        f"{100 * own.min():.0f} to {100 * own.max():.0f} %"
    )
    if len(other):
        measured += (
            f"; languages that were not trained on: {100 * other.min():.0f} to {100 * other.max():.0f} %"
        )
    return Finding(
        "training",
        "The loss falls clearly in every language.",
        "Training text: mean loss of the last interval between checkpoints against the first; held-out text: end against start.",
        measured,
        "at least 10 % in every trained language, on both texts",
        verdict(bool(min(fall.min(), own.min()) >= 0.1), bool(min(fall.min(), own.min()) > 0)),
    )


def reconstruction(table: pd.DataFrame, tolerance: float) -> Finding:
    """The scores add up to the change of the loss, better with more nodes."""
    error = float(table.residual.abs().mean() / table.change.abs().mean())
    levels = sorted(int(name.removeprefix("error_")) for name in table if name.startswith("error_"))
    each = {count: table[f"error_{count}"].dropna() for count in levels}
    falling = len(levels) < 2 or float(each[levels[0]].median()) > float(each[levels[1]].median())
    within = int((table.relative_error <= tolerance).sum())
    medians = [
        f"{count} node{'s' * (count > 1)}: {one.median():.2g} ({len(one)} checkpoints)"
        for count, one in each.items()
    ]
    return Finding(
        "table",
        "The change of the loss is reproduced by the scores (paper: 4.46e-8 on −6.05e-4, relative 7.4e-5).",
        "Mean |residual| over mean |change|; checkpoints within the tolerance; median relative error by number of nodes on the "
        "whole path (seven only where three were not enough).",
        f"mean change {table.change.mean():.3g}, mean |residual| {table.residual.abs().mean():.2g}, relative {error:.2g}; "
        f"{within} of {len(table)} checkpoints within {tolerance:g}, largest {float(table.relative_error.max()):.2g}; "
        + ", ".join(medians),
        f"relative error of the paper's order (at most {RELATIVE_ERROR:g}), every checkpoint within the tolerance, "
        f"less with three nodes than with one; partly: at most {LARGEST_ERROR:g}",
        verdict(error <= RELATIVE_ERROR and within == len(table) and falling, error <= LARGEST_ERROR),
    )


def languages_help_themselves(explained: list[xr.Dataset]) -> Finding:
    """The heat map: a language is learned from its own text."""
    ranks = [rank for one in explained for rank in own_rank(one).values()]
    first, top = (float(np.mean([rank <= limit for rank in ranks])) for limit in (0, 2))
    return Finding(
        "languages",
        "A language is learned from its own text more than from any other's.",
        "Per checkpoint and held-out language: how many training languages lower its loss more, per sequence, than itself.",
        f"own text first in {100 * first:.0f} %, among the first three in {100 * top:.0f} % of {len(ranks)} cases",
        "first in more than half of the cases; partly: among the first three (no claim of the paper)",
        verdict(first > 0.5, top > 0.5),
    )
