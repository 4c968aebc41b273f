"""Layers of the run's last checkpoint in the place of those of earlier ones, without training (figure 10 and the swap curve).

Notation: θ_s with the layers L of θ_T is the swapped checkpoint s; at s = T nothing changes. Intervals draw the
n tests again: one bootstrap sample is a number of draws per test, the same for all checkpoints and for both networks compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from explaind.config.declarations import Stage
from explaind.experiments.experiment import Experiment
from explaind.experiments.runs import open_run
from explaind.recording.trajectory import Trajectory
from explaind.runtime.device import find_device
from explaind.runtime.progress import track
from explaind.store import write_dataset
from explaind.store.files import read_json, write_csv
from explaind.studies.moved_layers import move, parameters_at, parameters_of
from explaind.training.phases import step_of

__all__ = ["CURVES", "ORIGINAL", "accuracies", "draws", "predictions", "write"]

STAGE = Stage(
    options=("study.transplant.layers", "study.swap"),
    without=("study.swap.combination",),
    requires=("study.swap", "study.transplant", "study.windows"),
    memory=2000,
    runtime=60,
    gpu=True,
)

ORIGINAL = "original"
LEVELS = (0.025, 0.975)
CURVES = (
    "step", "combination", "original", "original_low", "original_high", "swapped", "swapped_low", "swapped_high",
    "difference", "low", "high",
)  # fmt: skip


def write(config: Mapping[str, Any], *, trajectory: Path, phases: Path, output: Path, curves: Path) -> None:
    """Predictions of all checkpoints with and without swapped layers, and accuracies with intervals.

    Args:
        config: `study.transplant.layers`; `study.swap.{stride,shown,resamples,seed}`.
        trajectory: the recorded run.
        phases: JSON of the recorded run.
        output: the store "swap" to write: predicted (combination, step, test), the largest output, `original`
            being a combination; labels (test). Every `stride`-th checkpoint, those of `shown` and the last.
        curves: CSV with `CURVES`: shares of the tests, one row per step and combination.

    Raises:
        ConfigError: a layer or a checkpoint that the run does not have.
    """
    options = config["study"]["swap"]
    run, experiment = open_run(trajectory)
    named = {name: step_of(name, read_json(phases)) for name in options["shown"]}
    steps = sorted({*range(0, run.n_steps + 1, options["stride"]), *named.values(), run.n_steps})
    taken = {name: layers for name, layers in config["study"]["transplant"]["layers"].items() if layers}
    result = predictions(run, experiment.to(find_device()), taken, steps)
    result.attrs |= {"shown": named}
    write_dataset(result, output, kind="swap")
    write_csv(accuracies(result, options["resamples"], options["seed"]), curves)


def predictions(
    run: Trajectory, experiment: Experiment, combinations: Mapping[str, list[str]], steps: list[int]
) -> xr.Dataset:
    """The largest output of each test by the original and by the swapped checkpoints, int16.

    Args:
        run, experiment: the explained run.
        combinations: name → layers that are taken from θ_T.
        steps: of the checkpoints.
    """
    moved = {name: parameters_of(experiment, layers) for name, layers in combinations.items()}
    final, everything = (
        parameters_at(run, run.n_steps),
        [name for name, _ in experiment.model.named_parameters()],
    )
    inputs, labels = experiment.test
    found: dict[str, list[Tensor]] = {name: [] for name in (ORIGINAL, *moved)}
    for step in track(steps, description="swapping layers", unit="checkpoint"):
        own = parameters_at(run, step)
        for name in found:
            move(own, everything, experiment.model)
            move(final, moved.get(name, []), experiment.model)
            found[name].append(experiment.outputs(inputs).argmax(-1).cpu())
    predicted = torch.stack([torch.stack(rows) for rows in found.values()]).to(torch.int16)
    return xr.Dataset(
        {
            "predicted": (("combination", "step", "test"), predicted.numpy()),
            "labels": ("test", labels.cpu().numpy()),
        },
        coords={"combination": list(found), "step": steps, "test": np.arange(len(labels))},
    )


def draws(tests: int, resamples: int, seed: int) -> np.ndarray:
    """How often each bootstrap sample draws each test, float64 [resamples, tests]; every row sums to `tests`."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(tests, np.full(tests, 1 / tests), size=resamples).astype(np.float64)


def accuracies(result: xr.Dataset, resamples: int, seed: int) -> pd.DataFrame:
    """Accuracy of the original, of the swapped checkpoints, and their difference, with 95 % bootstrap intervals over tests.

    Args:
        result: of `predictions`.
        resamples, seed: of the bootstrap.

    Returns:
        Columns `CURVES`.
    """
    right = (result["predicted"] == result["labels"]).transpose("combination", "step", "test")
    weights = draws(right.sizes["test"], resamples, seed) / right.sizes["test"]
    means = right.mean("test")
    spread = {
        str(name): weights @ right.sel(combination=name).values.T for name in right["combination"].values
    }
    own, own_drawn = means.sel(combination=ORIGINAL).values, spread[ORIGINAL]
    tables = []
    for name, drawn in spread.items():
        if name == ORIGINAL:
            continue
        swapped = means.sel(combination=name).values
        columns = [
            right["step"].values, [name] * len(own),
            own, *np.quantile(own_drawn, LEVELS, axis=0),
            swapped, *np.quantile(drawn, LEVELS, axis=0),
            swapped - own, *np.quantile(drawn - own_drawn, LEVELS, axis=0),
        ]  # fmt: skip
        tables.append(pd.DataFrame(dict(zip(CURVES, columns, strict=True))))
    return pd.concat(tables, ignore_index=True)
