"""Stores of random images in the place of the published ones, which no test fetches, and runs recorded on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from explaind.config import compose
from explaind.stages import record, select
from explaind.store import write_dataset

SHAPES = {"mnist": (1, 28, 28), "cifar2": (3, 32, 32)}
CLASSES = {"mnist": tuple(range(10)), "cifar2": (3, 5)}


def write_images(path: Path, experiment: str, train: int = 140, test: int = 50, shape: Any = None) -> Path:
    """A store of `train` + `test` random images of the experiment's size and classes."""
    generator = np.random.default_rng(0)
    variables = {}
    for part, count in (("train", train), ("test", test)):
        pixels = generator.integers(256, size=(count, *(shape or SHAPES[experiment])), dtype=np.uint8)
        labels = generator.choice(np.array(CLASSES[experiment], dtype=np.uint8), size=count)
        axes = (f"{part}_sample", "channel", "row", "column")
        variables[f"{part}_images"], variables[f"{part}_labels"] = (axes, pixels), (axes[:1], labels)
    write_dataset(xr.Dataset(variables), path, kind="images")
    return path


def configured(experiment: str, data: Path, *overrides: str) -> dict[str, Any]:
    """The smoke configuration with the path of its data, as the workflow adds it."""
    return compose(experiment, "smoke", list(overrides)) | {"files": {"data": str(data)}}


def recorded(config: dict[str, Any], folder: Path) -> Path:
    """The run of a configuration, recorded as the workflow does."""
    select.write(config, summaries=[], output=folder / "selection.json")
    record.write(
        config, selection=folder / "selection.json",
        trajectory=folder / "run.zarr", summary=folder / "run.json", metrics=folder / "metrics.csv",
    )  # fmt: skip
    return folder / "run.zarr"
