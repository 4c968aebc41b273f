"""Checks of a recorded trajectory: that its bytes are the ones written, and that it belongs to this model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from explaind.errors import StoreError
from explaind.recording.layout import Layout
from explaind.store import crc32c, sha256_file

REMEDY = "record again, or restore the store from a copy"


def file_digests(store: Path) -> dict[str, str]:
    """SHA-256 of the files that describe a finished trajectory: its journal and each array's description.

    Chunks are not among them: they are checked one by one, as they are read.
    """
    files = [*store.glob("*.jsonl"), *store.rglob("zarr.json")]
    return {file.relative_to(store).as_posix(): sha256_file(file) for file in sorted(files)}


def check_files(store: Path, manifest: dict[str, Any]) -> None:
    """Compare with the digests a finished trajectory carries; an unfinished one has none yet.

    Raises:
        StoreError: a file is missing or differs.
    """
    for name, digest in manifest.get("files", {}).items():
        if not (store / name).is_file():
            raise StoreError(f"The file {store / name} is missing", remedy=REMEDY)
        if sha256_file(store / name) != digest:
            raise StoreError(f"The file {store / name} is damaged", got="another SHA-256", remedy=REMEDY)


def check_crc(store: Path, where: str, values: np.ndarray, expected: int) -> None:
    """Compare decoded values with their recorded checksum.

    Raises:
        StoreError: they differ.
    """
    if (found := crc32c(values)) != expected:
        raise StoreError(
            f"The values of {where} in {store} are not those that were recorded",
            expected=f"CRC-32C {expected}",
            got=str(found),
            remedy=REMEDY,
        )


def check_model(store: Path, layout: Layout, constants: dict[str, Any], model: nn.Module) -> None:
    """Compare a model with the recorded one: names, shapes and dtypes of parameters and buffers.

    Raises:
        StoreError: the first difference.
    """
    expected = {
        name: (tuple(entry["shape"]), getattr(torch, entry["dtype"])) for name, entry in constants.items()
    }
    expected |= {name: (shape, layout.dtype) for name, shape in zip(layout.names, layout.shapes, strict=True)}
    given = dict((*model.named_parameters(), *model.named_buffers()))
    found = {name: (tuple(value.shape), value.dtype) for name, value in given.items()}
    for name in [*expected, *found]:
        if expected.get(name) != found.get(name):
            raise StoreError(
                f"The model is not the one recorded in {store}: '{name}' differs",
                expected=_describe(expected.get(name)),
                got=_describe(found.get(name)),
                remedy="build the model as it was when the run was recorded",
            )


def _describe(entry: tuple[tuple[int, ...], torch.dtype] | None) -> str:
    return "no such parameter or buffer" if entry is None else f"shape {entry[0]}, {entry[1]}"
