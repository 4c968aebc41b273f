"""Do scores predict interventions? Measured against predicted effects, by kind of intervention and of group, over all windows of
a length: over many updates groups move far, and what holds over few of them need not hold there.

For n interventions with predicted effects x and measured effects y: Spearman's and Pearson's correlation, and the slope through
the origin Σ x y / Σ x² (an effect that is proportional to its prediction has no intercept). 95 % intervals are percentiles of a
bootstrap over the interventions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from explaind.config.declarations import Stage
from explaind.errors import ConfigError
from explaind.store.files import write_csv
from explaind.studies.datamodel import rank_correlation
from explaind.studies.parts import LEAST

__all__ = ["COLUMNS", "FEW", "NO", "PREDICTS", "RANK", "RULE", "describe", "verdict", "write"]

STAGE = Stage(
    options=("study.proportionality.seed", "study.proportionality.resamples"),
    requires="study.proportionality",
    memory=1000,
    runtime=10,
)

BY = ["experiment", "intervention", "term", "kind", "updates"]
COLUMNS = (
    *BY, "count", "windows", "spearman", "spearman_low", "spearman_high", "pearson", "pearson_low", "pearson_high",
    "slope", "slope_low", "slope_high", "within", "local", "noise", "verdict",
)  # fmt: skip
PREDICTS, RANK, NO, FEW = "predicts", "predicts rank only", "does not predict", "too few to say"
STRONG, FACTOR = 0.5, 2.0
RULE = (
    f"predicts: the whole interval of Spearman's correlation is at least {STRONG}, and that of the slope lies between "
    f"{1 / FACTOR:g} and {FACTOR:g}; predicts rank only: Spearman's interval is above 0; else does not predict; "
    f"too few to say: fewer than {LEAST} interventions"
)


def write(config: Mapping[str, Any], *, interventions: Sequence[Path], points: Path, output: Path) -> None:
    """Put the windows together and describe each kind of intervention on each kind of group.

    Args:
        config: `study.proportionality.{seed,resamples}`.
        interventions: CSV of `explaind.studies.intervention`, one per window.
        points: CSV to write: their rows together.
        output: CSV to write, with `COLUMNS`.

    Raises:
        ConfigError: fewer interventions of a kind than an interval needs.
    """
    options = config["study"]["proportionality"]
    table = pd.concat([pd.read_csv(path) for path in interventions], ignore_index=True)
    unchanged, lengths = table.intervention == "none", table["stop"] - table["start"]
    noise = float(table[unchanged].measured.abs().max())
    rows = []
    measured = table.assign(updates=lengths)[~unchanged]
    for _, part in measured.groupby(BY[:-1], sort=False):
        _enough(part)
    for names, part in measured.groupby(BY, sort=False):
        statistics = describe(part, options["resamples"], options["seed"])
        rows.append({**dict(zip(BY, names, strict=True)), **statistics, "noise": noise})
    write_csv(table, points)
    write_csv(pd.DataFrame(rows, columns=COLUMNS), output)


def describe(part: pd.DataFrame, resamples: int, seed: int) -> dict[str, Any]:
    """Correlations, slope, intervals and verdict of one group of rows.

    Args:
        part: columns `predicted`, `measured`, `local`, `window`.
        resamples, seed: of the bootstrap. Fewer than `LEAST` rows have no intervals.
    """
    x, y = (part[name].to_numpy(np.float64) for name in ("predicted", "measured"))
    drawn = np.random.default_rng(seed).integers(len(x), size=(len(x), resamples))
    found: dict[str, Any] = {"count": len(x), "windows": part.window.nunique()}
    measures: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "spearman": rank_correlation, "pearson": _pearson, "slope": _slope,
    }  # fmt: skip
    for name, measure in measures.items():
        found[name] = float(measure(x[:, None], y[:, None])[0])
        low, high = (
            np.nanquantile(measure(x[drawn], y[drawn]), (0.025, 0.975))
            if len(x) >= LEAST
            else (np.nan, np.nan)
        )
        found[f"{name}_low"], found[f"{name}_high"] = float(low), float(high)
    found["within"] = _within(part)
    local = part.local.to_numpy(np.float64)
    found["local"] = (
        float(rank_correlation(local[:, None], y[:, None])[0]) if np.isfinite(local).all() else np.nan
    )
    return {**found, "verdict": verdict(found)}


def _enough(part: pd.DataFrame) -> None:
    if len(part) < LEAST:
        raise ConfigError(
            "There are too few interventions of a kind for the interval of a correlation.",
            expected=f"at least {LEAST}",
            got=f"{len(part)} of {part.iloc[0].intervention!r} on {part.iloc[0].kind!r}",
            remedy="Raise study.proportionality.retrained, or add windows.",
        )


def verdict(found: Mapping[str, float]) -> str:
    """`PREDICTS`, `RANK`, `NO` or `FEW`, by `RULE`."""
    if np.isnan(found["spearman_low"]):
        return FEW
    in_proportion = found["slope_low"] >= 1 / FACTOR and found["slope_high"] <= FACTOR
    if found["spearman_low"] >= STRONG and in_proportion:
        return PREDICTS
    return RANK if found["spearman_low"] > 0 else NO


def _within(part: pd.DataFrame) -> float:
    """Mean of the windows' own rank correlations, in which the windows' different sizes play no part."""
    each = [
        rank_correlation(*(one[[name]].to_numpy(np.float64) for name in ("predicted", "measured")))[0]
        for _, one in part.groupby("window")
        if len(one) > 1
    ]
    return float(np.nanmean(each)) if each else np.nan


def _pearson(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[n, R] and [n, R] → [R]; NaN where one of the two is constant."""
    x, y = x - x.mean(0), y - y.mean(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (x * y).sum(0) / np.sqrt((x**2).sum(0) * (y**2).sum(0))


def _slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Σ x y / Σ x², [R]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (x * y).sum(0) / (x**2).sum(0)
