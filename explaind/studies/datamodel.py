"""The linear datamodel score (LDS): do scores of training samples predict what models trained on subsets of them output?

For a test sample x with true class y, the prediction for subset S is Σ_{k∈S} τ(k, x) and the measurement is log p_y(x) of
models that were trained on S, averaged over their seeds. The score is Spearman's rank correlation over subsets, averaged over
test samples (Ilyas et al., 2022; Park et al., 2023). Shapes: M subsets, T test samples, N training samples.

ExPLAIND's scores describe one run and are not made to predict others; see docs/method.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from scipy.stats import rankdata

from explaind.config.declarations import Stage
from explaind.experiments.runs import open_run
from explaind.store import read_dataset
from explaind.store.files import write_csv
from explaind.studies.retrain import LEAVE_ONE_OUT, members

__all__ = ["interval", "rank_correlation", "score_of_attribution", "write"]

STAGE = Stage(
    options=("name", "study.datamodel.seed", "study.datamodel.resamples"),
    requires="study.datamodel",
    memory=4000,
    runtime=60,
)


def write(
    config: Mapping[str, Any],
    *,
    trajectory: Path,
    attribution: Path,
    baselines: Sequence[Path],
    retrained: Sequence[Path],
    output: Path,
) -> None:
    """Write one row per method and fraction.

    Args:
        config: `study.datamodel.{seed,resamples}` and `name`.
        trajectory: the explained run; names its seed.
        attribution: the store of ExPLAIND's scores.
        baselines: stores of the other methods' scores.
        retrained: stores of retrained models, several per fraction.
        output: CSV with the columns of `explaind.tables.lds`; `lds` uses the seeds that are not the explained run's,
            `lds_own_seed` that one alone; `low` and `high` are 95 % intervals.
    """
    options = config["study"]["datamodel"]
    _, experiment = open_run(trajectory)
    own = read_dataset(attribution, kind="attribution")
    labels = experiment.test[1][: own.sizes["test"]].numpy()
    methods = {"explaind": score_of_attribution(own, labels)}
    for path in baselines:
        baseline = read_dataset(path, kind="baseline")
        methods[baseline.attrs["method"]] = baseline["score"].values.astype(np.float64)
    rows = []
    for fraction, models in _by_fraction(retrained).items():
        measured = _log_probability(models, labels)
        chosen = _membership(len(experiment.train[1]), fraction, models, options["seed"])
        for method, scores in methods.items():
            predicted = chosen @ scores
            others = measured.drop_sel(seed=experiment.seed, errors="ignore")
            target = others.mean("seed").values if others.sizes["seed"] else None
            same = measured.sel(seed=experiment.seed).values if experiment.seed in measured.seed else None
            draws = (options["resamples"], options["seed"])
            (low, high), (low_own, high_own) = (interval(predicted, one, *draws) for one in (target, same))
            rows.append(
                {
                    "experiment": config["name"],
                    "method": method,
                    "fraction": fraction,
                    "lds": _mean(predicted, target),
                    "low": low,
                    "high": high,
                    "lds_own_seed": _mean(predicted, same),
                    "low_own_seed": low_own,
                    "high_own_seed": high_own,
                    "tests": len(labels),
                    "subsets": models.sizes["subset"],
                    "seeds": others.sizes["seed"],
                    "updates": int(models["steps"][0]),
                }
            )
    write_csv(pd.DataFrame(rows), output)


def score_of_attribution(attribution: xr.Dataset, labels: np.ndarray) -> np.ndarray:
    """τ [N, T]: what each training sample contributed to the log-probability of the test samples' true classes."""
    kernel = attribution["kernel"].transpose("train", "test", "output").values
    return np.take_along_axis(kernel, labels[None, :, None], axis=2)[..., 0].astype(np.float64)


def rank_correlation(predicted: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Spearman's correlation over the first axis, [M, T] and [M, T] → [T]; NaN where one of the two is constant."""
    first, second = (rankdata(values, axis=0) for values in (predicted, measured))
    first, second = (ranks - ranks.mean(0) for ranks in (first, second))
    with np.errstate(invalid="ignore"):
        return (first * second).sum(0) / np.sqrt((first**2).sum(0) * (second**2).sum(0))


def interval(
    predicted: np.ndarray, measured: np.ndarray | None, resamples: int, seed: int
) -> tuple[float, float]:
    """95 % bootstrap interval of the mean correlation: subsets and test samples are drawn again, with replacement."""
    if measured is None:
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    subsets, tests = predicted.shape
    means = []
    for _ in range(resamples):
        rows = generator.integers(subsets, size=subsets)
        columns = generator.integers(tests, size=tests)
        if (rows == rows[0]).all():
            continue  # one subset alone has no ranks
        means.append(np.nanmean(rank_correlation(predicted[rows][:, columns], measured[rows][:, columns])))
    low, high = np.nanquantile(means, (0.025, 0.975))
    return float(low), float(high)


def _mean(predicted: np.ndarray, measured: np.ndarray | None) -> float:
    return float("nan") if measured is None else float(np.nanmean(rank_correlation(predicted, measured)))


def _by_fraction(paths: Sequence[Path]) -> dict[str, xr.Dataset]:
    parts: dict[str, list[xr.Dataset]] = {}
    for path in paths:
        part = read_dataset(path, kind="retrained")
        parts.setdefault(part.attrs["fraction"], []).append(part)
    return {
        fraction: xr.concat(sorted(group, key=lambda part: int(part.subset[0])), dim="subset", join="exact")
        for fraction, group in sorted(parts.items(), key=lambda item: (item[0] == LEAVE_ONE_OUT, item[0]))
    }


def _log_probability(models: xr.Dataset, labels: np.ndarray) -> xr.DataArray:
    """log p of the true class, (subset, seed, test)."""
    index = xr.DataArray(labels, dims="test")
    return models["outputs"].isel(output=index).transpose("subset", "seed", "test").astype(np.float64)


def _membership(samples: int, fraction: str, models: xr.Dataset, seed: int) -> np.ndarray:
    """1 where a training sample is in a subset, [M, N]."""
    membership = torch.zeros(models.sizes["subset"], samples, dtype=torch.float64)
    for row, number in zip(membership, models["subset"].values, strict=True):
        row[members(samples, fraction, int(number), seed)] = 1
    return membership.numpy()
