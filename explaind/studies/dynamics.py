"""The paper's claims about the dynamics of pretraining (figures 6, 14 and 15), each measured on the explained updates.

Scores are contributions to the change of the held-out loss by one update (negative: they lower it). The first and the last third
are those of the checkpoints.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.stats import binomtest

from explaind.studies.components import by_component, by_depth
from explaind.studies.finding import Finding, verdict

__all__ = [
    "depth_moves",
    "embeddings_are_small",
    "mlp_first_attention_later",
    "momentum_oscillates",
    "regularization_grows",
    "regularization_of_output_turns",
]

MOVE = 0.05  # share of the depth that counts as a move
SMALL = 0.2  # share of all influence up to which a component plays "a small role"


def _thirds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    third = max(1, len(values) // 3)
    return values[:third], values[-third:]


def mlp_first_attention_later(scores: xr.DataArray) -> Finding:
    """Figure 6: two phases."""
    kinds = by_component(scores.sel(term="batch")).transpose("checkpoint", "component")
    lowering = (-kinds).clip(min=0)
    total = _thirds(lowering.sum("component").values)
    shares = [
        [
            float(part.sum() / whole.sum()) if whole.sum() else 0.0
            for part, whole in zip(_thirds(lowering.sel(component=name).values), total, strict=True)
        ]
        for name in ("MLP", "attention")
    ]
    first = shares[0][0] > shares[1][0]
    later = shares[1][1] > shares[1][0]
    return Finding(
        "6",
        "MLP layers lower the loss first, attention later.",
        "Share of the batch influence that lowers the loss, summed over the first and the last third of the checkpoints.",
        f"MLP {shares[0][0]:.2f} then {shares[0][1]:.2f}; attention {shares[1][0]:.2f} then {shares[1][1]:.2f}",
        "MLP above attention in the first third, and attention's share growing; partly: one of the two",
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
        f"each at most {SMALL:g}; partly: one of them",
        verdict(max(inner, outer) <= SMALL, min(inner, outer) <= SMALL),
    )


def depth_moves(scores: xr.DataArray) -> Finding:
    """Figure 6: influence of the MLP moves from layers near the input to layers near the output, and back."""
    mlp = scores.sel(term="batch").isel(unit=np.flatnonzero(scores["component"].values == "MLP"))
    depth = by_depth(mlp).transpose("checkpoint", "depth")
    weights = np.clip(-depth.values, 0, None)
    layers = depth["depth"].values
    there = weights.sum(1) > 0  # checkpoints at which the MLP lowers the loss at all
    centre = (weights[there] * layers).sum(1) / weights[there].sum(1)
    parts = np.array_split(centre, 3) if len(centre) >= 3 else [np.zeros(1)] * 3
    thirds = [float(part.mean()) for part in parts]
    least = MOVE * float(np.ptp(layers))
    up, back = thirds[1] - thirds[0] > least, thirds[1] - thirds[2] > least
    return Finding(
        "6",
        "MLP influence moves from layers near the input towards the output, and later back.",
        f"Mean depth (1 to {int(layers.max())}) of the MLP influence that lowers the loss, in three thirds of the checkpoints.",
        ", ".join(f"{value:.2f}" for value in thirds),
        f"rising, then falling, by {MOVE:g} of the depth at least; partly: one of the two",
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
        "negative, then positive; partly: rising",
        verdict(early < 0 < late, early < late),
    )


def regularization_grows(scores: xr.DataArray, lr: np.ndarray) -> Finding:
    """Figure 14: the size of regularization's influence rises sharply, then more slowly."""
    sizes = np.abs(by_component(scores.sel(term="regularization"))).sum("component").values
    values = sizes / lr
    parts = np.array_split(values, 3) if len(values) >= 3 else [values] * 3
    a, b, c = (float(part.mean()) for part in parts)
    return Finding(
        "14",
        "The size of the regularization influence rises sharply, then levels off.",
        "Mean Σ |regularization influence| over kinds of components, divided by the learning rate, in three thirds of the "
        "checkpoints.",
        f"{a:.2g}, {b:.2g}, {c:.2g}",
        "a rise from the first third to the second, and a smaller one to the last; partly: the first rise",
        verdict(b > a and 0 <= c - b < b - a, b > a),
    )


def momentum_oscillates(scores: xr.DataArray) -> Finding:
    """Figure 15: the momentum's influence changes its sign from checkpoint to checkpoint."""
    values = scores.sel(term="momentum").sum("unit").values
    changes = np.sign(values[1:]) != np.sign(values[:-1])
    count, total = int(changes.sum()), len(changes)
    chance = float(binomtest(count, total, 0.5, alternative="greater").pvalue) if total else 1.0
    return Finding(
        "15",
        "The influence of the momentum oscillates: its sign changes from checkpoint to checkpoint.",
        "Neighbouring checkpoints between which the sum of the momentum influence changes its sign (by chance: half of them).",
        f"{count} of {total} (as many or more by chance: {chance:.2g}); {int((values < 0).sum())} of {len(values)} are negative",
        "more than by chance (below 0.05); partly: more than half",
        verdict(chance < 0.05, count > total / 2),
    )
