"""Unfinished work on disk: nested values with arrays, one file, read back bit by bit or refused.

A file is a zip archive as `numpy.savez` writes it, whose CRC-32 of every array is checked by whoever reads it. Its entry
`tree` is JSON: the values as they are nested, with numbers in the place of arrays. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from explaind.errors import StoreError

__all__ = ["read_piece", "write_piece"]


def write_piece(path: Path, content: Any) -> None:
    """Replace `path` by a file that holds `content`: after a crash it is the old one or the new one, and complete.

    Args:
        path: in a folder that exists.
        content: None, booleans, numbers, text, tensors, arrays of numbers or text, datasets of such; lists, tuples and
            dictionaries (whose keys may be numbers, text, None or tuples of these) of all these.

    Raises:
        StoreError: something else is in it.
        OSError: the file cannot be written.
    """
    arrays: list[np.ndarray] = []
    tree = json.dumps(_flat(content, arrays)).encode()
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as stream:
        named = {str(number): array for number, array in enumerate(arrays)}
        np.savez(stream, tree=np.frombuffer(tree, dtype=np.uint8), **named)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


def read_piece(path: Path) -> Any:
    """What `write_piece` was given: tensors on the devices that they were on, scalars of NumPy as Python's.

    Raises:
        StoreError: the file is missing, truncated or damaged.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return _nested(json.loads(arrays["tree"].tobytes()), arrays)
    except Exception as error:  # zip, NumPy and JSON have their own exceptions for damaged bytes
        raise StoreError(
            f"The file {path} cannot be read",
            expected="arrays that agree with their checksums",
            got=f"{type(error).__name__}: {error}",
            remedy="remove it; what it held is computed again",
        ) from error


def _flat(value: Any, arrays: list[np.ndarray]) -> Any:
    """The value as JSON, its arrays moved to the list."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return _flat(value.item(), arrays)
    if isinstance(value, list):
        return [_flat(each, arrays) for each in value]
    if isinstance(value, tuple):
        return {"kind": "tuple", "of": [_flat(each, arrays) for each in value]}
    if isinstance(value, xr.Dataset):
        return {"kind": "dataset", "of": _flat(value.to_dict(data="array"), arrays)}
    if isinstance(value, Mapping):
        return {"kind": "dict", "of": [[_flat(one, arrays) for one in item] for item in value.items()]}
    if isinstance(value, Tensor):
        order = sorted(range(value.dim()), key=value.stride, reverse=True)
        arrays.append(value.detach().cpu().permute(order).contiguous().numpy())
        return {"kind": "tensor", "of": len(arrays) - 1, "order": order, "device": str(value.device)}
    if isinstance(value, np.ndarray):
        if value.dtype == object and all(isinstance(each, str) for each in value.flat):
            value = value.astype(str)
        if value.dtype.kind in "biufcU":
            arrays.append(value)
            return {"kind": "array", "of": len(arrays) - 1}
    raise StoreError(
        "Unfinished work cannot be kept.",
        expected="numbers, text, tensors, arrays and datasets of these, in lists, tuples and dictionaries",
        got=type(value).__name__ if not isinstance(value, np.ndarray) else f"an array of {value.dtype}",
    )


def _nested(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The inverse of `_flat`."""
    if isinstance(tree, list):
        return [_nested(each, arrays) for each in tree]
    if not isinstance(tree, dict):
        return tree
    kind, of = tree["kind"], tree["of"]
    if kind == "array":
        return arrays[str(of)]
    if kind == "tensor":
        # As it lay in memory, aligned as torch aligns: the order in which floats are added up may depend on both.
        tensor = torch.from_numpy(arrays[str(of)]).clone().to(tree["device"])
        return tensor.permute(np.argsort(tree["order"], kind="stable").tolist())
    values = _nested(of, arrays)
    if kind == "tuple":
        return tuple(values)
    return xr.Dataset.from_dict(values) if kind == "dataset" else dict(values)
