"""The claims about figure 2, measured on pruned models over splits of the test set.

A comparison of two methods is paired: at each fraction, the difference on the same evaluated samples, its mean over splits, and
Student's 95 % interval. The thresholds decide verdicts, not results, and each is stated in the finding it decides.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

from explaind.studies.finding import Finding, verdict

__all__ = [
    "CLAIMS",
    "about_changes",
    "better_than_random",
    "closer_than_change",
    "closer_than_filters",
    "closer_than_magnitude",
    "competitive",
    "interval",
    "paired",
]

MARGIN = 0.05  # of accuracy: methods that differ by less are called competitive
LEAST = 0.1  # share kept from which on they are compared: below, every method has lost the model
TIMES = 2.0  # "much lower": by this factor at least
_PAIRED = "paired over splits, 95 % t intervals"


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of values [K ≥ 2], and the ends of its 95 % interval by Student's t distribution of K − 1 degrees of freedom."""
    mean = float(np.mean(values))
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return mean, mean - half, mean + half


def paired(table: pd.DataFrame, first: str, second: str, measure: str, rest: str = "zero") -> pd.DataFrame:
    """(first method − second method) of a measure by fraction, rising: columns first, second (means), mean, low, high."""
    chosen = table[table.rest == rest].pivot(index=["fraction", "split"], columns="method", values=measure)
    difference = (chosen[first] - chosen[second]).groupby("fraction")
    rows = {fraction: interval(values.to_numpy()) for fraction, values in difference}
    result = pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "low", "high"])
    return (
        chosen[[first, second]].groupby("fraction").mean().set_axis(["first", "second"], axis=1).join(result)
    )


def competitive(table: pd.DataFrame) -> Finding:
    """Claim: pruning by importance, without training, is competitive with iterative filter pruning with retraining."""
    found = paired(table, "explaind", "filters", "accuracy")
    found = found[found.index >= LEAST]
    near = found["mean"] >= -MARGIN
    original, without = table.original.mean(), ""
    if "filters_unretrained" in set(table.method):
        alone = paired(table, "explaind", "filters_unretrained", "accuracy").loc[found.index, "low"] > 0
        without = f"; filters that are not retrained are behind importance at {alone.sum()} of {len(alone)}"
    return Finding(
        "2",
        "Pruning by importance, without any training, is competitive with iterative filter pruning with retraining.",
        f"Accuracy with importance − accuracy with retrained filters, {_PAIRED}, at each share kept from {LEAST:g} on (the "
        f"levels that the paper means are not in its text). Reproduced: at least −{MARGIN:g} at each; partly: at one or more.",
        f"{_listed(found, '.3f')}; at least −{MARGIN:g} at {near.sum()} of {len(near)}; the original's accuracy is "
        f"{original:.3f}, so that retrained filters exceed it by up to {(found['second'] - original).max():.3f}{without}",
        f"−{MARGIN:g} or more",
        verdict(bool(near.all()), bool(near.any())),
    )  # fmt: skip


def closer_than_filters(table: pd.DataFrame) -> Finding:
    """Claim: it stays much closer to the original model than filter pruning with retraining, at all levels."""
    found = paired(table, "explaind", "filters", "kl")
    closer = found["high"] < 0
    much = closer & (found["first"] * TIMES <= found["second"])
    return Finding(
        "2",
        "Pruning by importance replicates the original model more closely than retrained filters: much lower KL at all levels.",
        f"KL divergence from the original with importance − with retrained filters, {_PAIRED}, at each share kept. "
        f"Reproduced: below 0 with its interval, and at most 1/{TIMES:g} of the filters' KL, at each; partly: below 0 with "
        f"its interval at half of them.",
        f"{_listed(found, '.3f')} nats; below 0 at {closer.sum()} of {len(closer)}, by the factor at {much.sum()}",
        "below 0 everywhere",
        verdict(bool(much.all()), closer.mean() >= 0.5),
    )  # fmt: skip


def better_than_random(table: pd.DataFrame) -> Finding:
    """Claim: importances quantify the influence of parameters on predictions."""
    found = paired(table, "explaind", "random", "agreement")
    return _more(
        found,
        "Importances quantify the influence of parameters on predictions: better than random.",
        f"Agreement with the original with importance − with random parameters, {_PAIRED}, at each share kept.",
        sign=1,
    )


def closer_than_magnitude(table: pd.DataFrame) -> Finding:
    """Beyond the paper: importances say more than the size of a weight does."""
    found = paired(table, "explaind", "magnitude", "kl")
    return _more(
        found,
        "Beyond the paper: importances say more about what can be set to zero than the size of a weight does.",
        f"KL divergence from the original with importance − with the largest weights, {_PAIRED}, at each share kept.",
        sign=-1,
    )


def about_changes(table: pd.DataFrame) -> Finding:
    """Beyond the paper: importances are of what training changed, so they predict a reset better than a removal."""
    zero, initial = (
        paired(table, "explaind", "gradient_weight", "kl", rest)["high"] < 0 for rest in ("zero", "initial")
    )
    found = paired(table, "explaind", "gradient_weight", "kl", "initial")
    return Finding(
        "2",
        "Beyond the paper: importances are of what training changed, and so predict what can be reset rather than what can be "
        "zero.",
        f"KL divergence from the original with importance − with gradient × weight, {_PAIRED}, where the rest gets its "
        f"initial values. Reproduced: below 0 with its interval at each share kept; partly: at more of them than where the "
        f"rest is set to zero.",
        f"{_listed(found, '.3f')} nats; below 0 at {initial.sum()} of {len(initial)}; with zero at {zero.sum()}",
        "below 0 with initial values",
        verdict(bool(initial.all()), initial.sum() > zero.sum()),
    )  # fmt: skip


def closer_than_change(table: pd.DataFrame) -> Finding:
    """Beyond the paper: of what training changed, importances say more than the size of a change does."""
    found = paired(table, "explaind", "change", "kl", "initial")
    return _more(
        found,
        "Beyond the paper: importances say more about what can be reset than the size of a parameter's change does.",
        f"KL divergence from the original with importance − with the largest changes, {_PAIRED}, at each share kept, where the "
        "rest gets its initial values.",
        sign=-1,
    )  # fmt: skip


#: Claim → the methods it compares, with what the rest is set to.
CLAIMS: dict[Callable[[pd.DataFrame], Finding], set[tuple[str, str]]] = {
    competitive: {("explaind", "zero"), ("filters", "zero")},
    closer_than_filters: {("explaind", "zero"), ("filters", "zero")},
    better_than_random: {("explaind", "zero"), ("random", "zero")},
    closer_than_magnitude: {("explaind", "zero"), ("magnitude", "zero")},
    about_changes: {
        (method, rest) for method in ("explaind", "gradient_weight") for rest in ("zero", "initial")
    },
    closer_than_change: {("explaind", "initial"), ("change", "initial")},
}


def _more(found: pd.DataFrame, claim: str, measure: str, *, sign: int) -> Finding:
    """A difference that has one sign at every share kept, or at half of them."""
    good = (found["low"] > 0) if sign > 0 else (found["high"] < 0)
    side = "above" if sign > 0 else "below"
    return Finding(
        "2",
        claim,
        f"{measure} Reproduced: {side} 0 with its interval at each; partly: at half of them.",
        f"{_listed(found, '.3f')}; {side} 0 at {good.sum()} of {len(good)}",
        f"{side} 0",
        verdict(bool(good.all()), good.mean() >= 0.5),
    )


def _listed(found: pd.DataFrame, form: str) -> str:
    """Every difference with its interval."""
    return ", ".join(
        f"{fraction:g}: {row['mean']:{form}} [{row['low']:{form}}, {row['high']:{form}}]"
        for fraction, row in found.iterrows()
    )
