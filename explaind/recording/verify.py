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
    if (actual := crc32c(values)) != expected:
        raise StoreError(
            f"The values of {where} in {store} are not those that were recorded",
            expected=f"CRC-32C {expected}",
            got=str(actual),
            remedy=REMEDY,
        )


def check_model(store: Path, layout: Layout, constants: dict[str, Any], model: nn.Module) -> None:
    """Compare a model with the recorded one: names, shapes and dtypes of parameters and buffers.

    Raises:
        StoreError: the first difference.
    """
    expected, present = _recorded(layout, constants), _present(model)
    for name in [*expected, *present]:
        if expected.get(name) != present.get(name):
            raise StoreError(
                f"The model is not the one recorded in {store}: '{name}' differs",
                expected=_describe(expected.get(name)),
                got=_describe(present.get(name)),
                remedy="build the model as it was when the run was recorded",
            )


def match_model(store: Path, layout: Layout, constants: dict[str, Any], model: nn.Module) -> dict[str, str]:
    """Name of each recorded parameter and buffer → its name in `model`.

    The two differ where the model was wrapped, or was when it was recorded: by torch.compile (`_orig_mod.`), by DataParallel
    or DistributedDataParallel (`module.`), or by a module of the user's own, which puts one prefix before all names. Names,
    shapes and dtypes must agree otherwise.

    Raises:
        StoreError: the first difference, if no single prefix explains it.
    """
    expected, present = _recorded(layout, constants), _present(model)
    if expected == present:
        return {name: name for name in expected}
    plain, given = _unwrapped(expected), _unwrapped(present)
    if plain is not None and given is not None:
        for prefix, added in _prefixes(plain, given):
            mapped = {
                old: given.get(prefix + name if added else name.removeprefix(prefix))
                for name, old in plain.items()
            }
            if _agree(mapped, expected, present):
                return mapped
    check_model(store, layout, constants, model)
    return {name: name for name in expected}


Entries = dict[str, tuple[tuple[int, ...], torch.dtype]]


def _recorded(layout: Layout, constants: dict[str, Any]) -> Entries:
    kept = {
        name: (tuple(entry["shape"]), getattr(torch, entry["dtype"])) for name, entry in constants.items()
    }
    return kept | {
        name: (shape, layout.dtype) for name, shape in zip(layout.names, layout.shapes, strict=True)
    }


def _present(model: nn.Module) -> Entries:
    given = dict((*model.named_parameters(), *model.named_buffers()))
    return {name: (tuple(value.shape), value.dtype) for name, value in given.items()}


def _unwrapped(entries: Entries) -> dict[str, str] | None:
    """Name without the prefixes of torch's own wrappers → name; None if two names become one."""
    plain: dict[str, str] = {}
    for name in entries:
        parts = [part for part in name.split(".") if part != "_orig_mod"]
        plain[".".join(parts)] = name
    while plain and all(name.startswith("module.") for name in plain):
        plain = {name.removeprefix("module."): old for name, old in plain.items()}
    return plain if len(plain) == len(entries) else None


def _prefixes(plain: dict[str, str], given: dict[str, str]) -> list[tuple[str, bool]]:
    """Candidates (prefix, was it added?): none at all, then what stands before the first name on either side."""
    candidates = [("", True)]
    for fewer, more, added in ((plain, given, True), (given, plain, False)):
        first = next(iter(fewer), "")
        candidates += [(name.removesuffix(first), added) for name in more if name.endswith("." + first)]
    return candidates


def _agree(mapped: dict[str, str | None], expected: Entries, present: Entries) -> bool:
    return set(mapped.values()) == set(present) and all(
        expected[name] == present[other] for name, other in mapped.items() if other is not None
    )


def _describe(entry: tuple[tuple[int, ...], torch.dtype] | None) -> str:
    return "no such parameter or buffer" if entry is None else f"shape {entry[0]}, {entry[1]}"
