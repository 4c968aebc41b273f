"""Labels and sort keys of the samples that a stored result is about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr

from explaind.errors import DataError
from explaind.experiments.build import load
from explaind.store.files import read_json

__all__ = ["Samples", "samples_of"]


class Samples(NamedTuple):
    """Per axis of a result, int64: labels `[N]` as positions 0..p-1 on their cycle, and the keys `[N]` (a+b) that figures sort
    by; `modulus` is p, the cycle's length."""

    test_labels: np.ndarray
    test_keys: np.ndarray
    train_labels: np.ndarray | None
    train_keys: np.ndarray | None
    modulus: int


def samples_of(result: xr.Dataset, config: Mapping[str, Any], phases: Path) -> Samples:
    """The samples along `test` (and `train`, if kept) of a result about the recorded run.

    Args:
        result: its coordinates `test` and `train` are sample ids, positions in the experiment's data.
        config: resolved configuration.
        phases: JSON of the recorded run, which names its seed.

    Raises:
        DataError: an id that the experiment's data does not have.
    """
    experiment = load(config, seed=read_json(phases)["seed"])
    if experiment.cycle is None:
        raise DataError(
            "The labels of this experiment are in no cyclic order.",
            expected="an experiment whose labels come round, like sums modulo p",
            got=experiment.name,
            remedy="Leave the studies of cycles out of its configuration.",
        )
    position = torch.full((experiment.classes,), -1)
    position[experiment.cycle] = torch.arange(len(experiment.cycle))

    def take(axis: str, values: Any) -> np.ndarray:
        ids, array = result[axis].values, values.numpy()
        if ids.min() < 0 or ids.max() >= len(array):
            raise DataError(
                f"The result is about {axis} samples that the experiment does not have.",
                expected=f"ids from 0 to {len(array) - 1}",
                got=f"ids from {ids.min()} to {ids.max()}",
                remedy="Compute the result again with this configuration.",
            )
        return array[ids]

    train = "train" in result.dims
    return Samples(
        test_labels=take("test", position[experiment.test[1]]),
        test_keys=take("test", experiment.test_key),
        train_labels=take("train", position[experiment.train[1]]) if train else None,
        train_keys=take("train", experiment.train_key) if train else None,
        modulus=len(experiment.cycle),
    )
