"""The paper's claims about a language model's pretraining, each measured on the explained updates.

Notation: C checkpoints; scores are contributions to the change of the held-out loss by one update (negative: they lower it).
The first and the last third are those of the checkpoints.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from explaind.studies.components import by_component, by_depth
from explaind.studies.finding import Finding, verdict
from explaind.studies.languages import own_rank

__all__ = [
    "depth_moves",
    "embeddings_are_small",
    "languages_help_themselves",
    "loss_falls",
    "mlp_first_attention_later",
    "momentum_oscillates",
    "reconstruction",
    "regularization_grows",
    "regularization_of_output_turns",
]

RELATIVE_ERROR = 1e-3
SMALL = 0.2  # share of all influence up to which a component plays "a small role"


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


def reconstruction(table: pd.DataFrame) -> Finding:
    """The scores add up to the change of the loss, better with more nodes."""
    error = table.residual.abs().mean() / table.change.abs().mean()
    levels = sorted(int(name.removeprefix("error_")) for name in table if name.startswith("error_"))
    each = {count: table[f"error_{count}"].dropna() for count in levels}
    falling = len(levels) < 2 or float(each[levels[0]].median()) > float(each[levels[1]].median())
    medians = [
        f"{count} node{'s' * (count > 1)}: {one.median():.2g} ({len(one)} checkpoints)"
        for count, one in each.items()
    ]
    return Finding(
        "table",
        "The change of the loss is reproduced by the scores (paper: 4.46e-8 on −6.05e-4, relative 7.4e-5).",
        "Mean |residual| over mean |change|; median relative error by number of nodes "
        "(seven and more only where three were not enough).",
        f"mean change {table.change.mean():.3g}, mean |residual| {table.residual.abs().mean():.2g}, relative {error:.2g}; "
        + ", ".join(medians)
        + f"; largest relative error {float(table.relative_error.max()):.2g}",
        f"relative error of at most {RELATIVE_ERROR:g}, falling with more nodes",
        verdict(bool(error <= RELATIVE_ERROR and falling), bool(error <= RELATIVE_ERROR)),
    )


def _thirds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    third = max(1, len(values) // 3)
    return values[:third], values[-third:]


def mlp_first_attention_later(scores: xr.DataArray) -> Finding:
    """Figure 6: two phases."""
    kinds = by_component(scores.sel(term="batch")).transpose("checkpoint", "component")
    total = -kinds.sum("component").values
    mlp, attention = (-kinds.sel(component=name).values for name in ("MLP", "attention"))
    shares = [
        [float(part.sum() / whole.sum()) for part, whole in zip(_thirds(one), _thirds(total), strict=True)]
        for one in (mlp, attention)
    ]
    first = shares[0][0] > shares[1][0]
    later = shares[1][1] > shares[1][0]
    return Finding(
        "6",
        "MLP layers lower the loss first, attention later.",
        "Share of the batch influence that lowers the loss, summed over the first and the last third of the checkpoints.",
        f"MLP {shares[0][0]:.2f} then {shares[0][1]:.2f}; attention {shares[1][0]:.2f} then {shares[1][1]:.2f}",
        "MLP above attention in the first third, and attention's share growing",
        verdict(first and later, first or later),
    )


def embeddings_are_small(scores: xr.DataArray) -> Finding:
    """Figure 6: the model's embeddings only play a small role."""
    kinds = abs(by_component(scores.sel(term="batch"))).sum("checkpoint")
    share = kinds / kinds.sum()
    inner, outer = (float(share.sel(component=name)) for name in ("input embedding", "output embedding"))
    return Finding(
        "6",
        "The embeddings play a small role.",
        "Share of |batch influence|, summed over checkpoints.",
        f"input embedding {inner:.2f}, output embedding {outer:.2f}",
        f"each at most {SMALL:g}",
        verdict(max(inner, outer) <= SMALL, min(inner, outer) <= SMALL),
    )


def depth_moves(scores: xr.DataArray) -> Finding:
    """Figure 6: influence of the MLP moves from layers near the input to layers near the output, and back."""
    mine = scores.sel(term="batch").isel(unit=np.flatnonzero(scores["component"].values == "MLP"))
    depth = by_depth(mine).transpose("checkpoint", "depth")
    weights = np.clip(-depth.values, 0, None)
    layers = depth["depth"].values
    centre = (weights * layers).sum(1) / np.maximum(weights.sum(1), 1e-30)
    thirds = (
        [float(part.mean()) for part in np.array_split(centre, 3)]
        if len(centre) >= 3
        else [float(centre[0])] * 3
    )
    up, back = thirds[1] > thirds[0], thirds[2] < thirds[1]
    return Finding(
        "6",
        "MLP influence moves from layers near the input towards the output, and later back.",
        f"Mean depth (1 to {int(layers.max())}) of the MLP influence that lowers the loss, in three thirds of the checkpoints.",
        ", ".join(f"{value:.2f}" for value in thirds),
        "rising, then falling",
        verdict(up and back, up or back),
    )


def regularization_of_output_turns(scores: xr.DataArray) -> Finding:
    """Figure 14: the decay of the output embedding lowers the loss first and raises it later."""
    values = by_component(scores.sel(term="regularization")).sel(component="output embedding").values
    early, late = (float(np.mean(part)) for part in _thirds(values))
    return Finding(
        "14",
        "Regularization through the output embedding lowers the loss first and raises it later.",
        "Mean regularization influence of the output embedding in the first and the last third of the checkpoints.",
        f"{early:.2g}, then {late:.2g}; {int((values < 0).sum())} of {len(values)} checkpoints are negative",
        "negative, then positive",
        verdict(early < 0 < late, early < late),
    )


def regularization_grows(scores: xr.DataArray) -> Finding:
    """Figure 14: the size of regularization's influence rises sharply, then more slowly."""
    values = np.abs(by_component(scores.sel(term="regularization"))).sum("component").values
    parts = np.array_split(values, 3) if len(values) >= 3 else [values] * 3
    a, b, c = (float(part.mean()) for part in parts)
    return Finding(
        "14",
        "The size of the regularization influence rises sharply, then levels off.",
        "Mean Σ |regularization influence| over kinds of components, in three thirds of the checkpoints. It is proportional to "
        "the learning rate, whose decay falls into the last third.",
        f"{a:.2g}, {b:.2g}, {c:.2g}",
        "a rise from the first third to the second that is larger than that to the last",
        verdict(b > a and c - b < b - a and c >= b, b > a),
    )


def momentum_oscillates(scores: xr.DataArray) -> Finding:
    """Figure 15: the momentum's influence changes its sign from checkpoint to checkpoint."""
    values = scores.sel(term="momentum").sum("unit").values
    changes = np.sign(values[1:]) != np.sign(values[:-1])
    share = float(changes.mean()) if len(changes) else 0.0
    return Finding(
        "15",
        "The influence of the momentum oscillates: its sign changes from checkpoint to checkpoint.",
        "Share of neighbouring checkpoints between which the sum of the momentum influence changes its sign.",
        f"{share:.2f} ({int(changes.sum())} of {len(changes)}); {int((values < 0).sum())} of {len(values)} are negative",
        "above 0.5",
        verdict(share > 0.5, share > 0.25),
    )


def languages_help_themselves(found: list[xr.Dataset]) -> Finding:
    """The heat map: a language is learned from its own text."""
    ranks = [rank for one in found for rank in own_rank(one).values()]
    first, top = (float(np.mean([rank <= limit for rank in ranks])) for limit in (0, 2))
    return Finding(
        "languages",
        "A language is learned from its own text more than from any other's.",
        "Per checkpoint and held-out language: how many training languages lower its loss more, per sequence, than itself.",
        f"own text first in {100 * first:.0f} %, among the first three in {100 * top:.0f} % of {len(ranks)} cases",
        "first in more than half of the cases (not a claim of the paper, which shows no languages)",
        verdict(first > 0.5, top > 0.5),
    )
