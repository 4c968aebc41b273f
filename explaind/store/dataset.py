"""Labelled results on disk: an `xarray.Dataset` in, the same one out, or an error.

A result is written to a temporary sibling and renamed, so a path holds a whole store or nothing; reading verifies
every file against the manifest before a number is returned. Each variable is one Zarr array with named dimensions,
so that `xarray.open_zarr(path, consolidated=False)` works too (Zarr warns that manifest.json is no array: true).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from explaind.errors import StoreError
from explaind.store.arrays import ArraySpec, create_array, create_group, open_array
from explaind.store.manifest import FILE_NAME, read_manifest, sha256_file, write_manifest

CHUNK_BYTES = 32 * 2**20
RESERVED = ("attrs", "coordinates", "dimensions", "files", "variables")


def write_dataset(
    ds: xr.Dataset,
    path: Path | str,
    *,
    kind: str,
    manifest: dict[str, Any] | None = None,
    chunks: dict[str, int] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a dataset as one store.

    Args:
        ds: numeric, boolean or text variables; attributes must be JSON values (numpy scalars are converted).
        path: directory to create.
        kind: what the store holds, checked by `read_dataset`.
        manifest: more top-level entries for the manifest, such as the config slice and the source digest.
        chunks: chunk length per dimension; by default chunks of at most 32 MiB, cut along the first axes.
        overwrite: replace an existing store instead of refusing.

    Raises:
        StoreError: the path exists, a dtype is not storable (objects are never pickled), or the disk is full.
    """
    path = Path(path)
    if not overwrite:
        check_absent(path)
    extra = manifest or {}
    if clash := sorted(set(extra) & {*RESERVED, "kind", "schema_version", "libraries", "digest"}):
        raise StoreError(f"The manifest entries {clash} are reserved", remedy="choose other names")
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        create_group(partial, {"coordinates": " ".join(sorted(map(str, set(ds.coords) - set(ds.dims))))})
        for name, variable in ds.variables.items():
            _write_variable(partial, str(name), variable, chunks or {})
        body = {
            **extra,
            "attrs": _plain(ds.attrs, "the dataset"),
            "dimensions": {str(name): int(size) for name, size in ds.sizes.items()},
            "variables": [str(name) for name in ds.variables],
            "coordinates": [str(name) for name in ds.coords],
            "files": _checksums(partial),
        }
        write_manifest(partial, body, kind=kind)
        _replace(partial, path)
    except OSError as error:
        raise StoreError(
            f"The store {path} could not be written",
            got=str(error),
            remedy="check the free space and the permissions",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_absent(path: Path | str) -> None:
    """Raise StoreError if there is something at `path`; for callers that work long before they write."""
    if Path(path).exists():
        raise StoreError(
            f"{path} exists already", expected="a new path", remedy="remove it, or pass overwrite=True"
        )


def read_dataset(path: Path | str, *, kind: str) -> xr.Dataset:
    """Load a store into memory after verifying all of it.

    Raises:
        StoreError: no store, wrong kind or schema version, or a missing, truncated or altered file (named).
    """
    path = Path(path)
    body = read_manifest(path, kind)
    _verify_files(path, body["files"])
    variables = {}
    for name in body["variables"]:
        array = open_array(path, name)
        values = array.read_all()
        if array.is_text:
            values = values.astype(object).astype(str) if values.size else np.empty(values.shape, dtype="<U1")
        variables[name] = xr.Variable(array.dimensions, values, array.attrs)
    coordinates = {name: variables.pop(name) for name in body["coordinates"]}
    return xr.Dataset(variables, coords=coordinates, attrs=body["attrs"])


def _write_variable(store: Path, name: str, variable: xr.Variable, chunks: dict[str, int]) -> None:
    if "/" in name or name in (FILE_NAME, "zarr.json"):
        raise StoreError(f"A variable cannot be named '{name}'", remedy="rename it without a slash")
    values = variable.values
    if values.dtype == object and all(isinstance(item, str) for item in values.flat):
        values = values.astype(str) if values.size else np.empty(values.shape, dtype="<U1")
    if values.dtype.kind not in "biufU":
        raise StoreError(
            f"Variable '{name}' cannot be stored",
            expected="booleans, integers, floats or text",
            got=f"dtype {values.dtype}",
            remedy="convert it first; objects are never pickled",
        )
    lengths = tuple(chunks.get(str(dim), 0) for dim in variable.dims)
    spec = ArraySpec(
        name=name,
        dtype="str" if values.dtype.kind == "U" else values.dtype.str,
        dimensions=tuple(map(str, variable.dims)),
        shape=values.shape,
        chunks=_chunk_shape(values, lengths),
        attrs=_plain(variable.attrs, f"variable '{name}'"),
    )
    create_array(store, spec).write_all(values)


def _chunk_shape(values: np.ndarray, lengths: tuple[int, ...]) -> tuple[int, ...]:
    shape = [length or max(1, size) for length, size in zip(lengths, values.shape, strict=True)]
    for axis in range(len(shape)):
        rest = int(np.prod(shape)) // shape[axis] * values.itemsize
        if not lengths[axis]:
            shape[axis] = max(1, min(shape[axis], CHUNK_BYTES // max(1, rest)))
    return tuple(shape)


def _plain(attrs: dict[Any, Any], owner: str) -> dict[str, Any]:
    """Attributes as JSON values: numpy scalars and arrays become Python numbers and lists."""

    def convert(value: Any) -> Any:
        if isinstance(value, np.generic | np.ndarray):
            return convert(value.tolist())
        if isinstance(value, dict):
            return {str(key): convert(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [convert(item) for item in value]
        if value is None or isinstance(value, str | bool | int | float):
            return value
        raise StoreError(
            f"An attribute of {owner} cannot be stored",
            expected="text, numbers, booleans, None, lists or dictionaries",
            got=f"{type(value).__name__}",
        )

    return convert(dict(attrs))


def _checksums(store: Path) -> dict[str, dict[str, Any]]:
    files = sorted(file for file in store.rglob("*") if file.is_file())
    return {
        file.relative_to(store).as_posix(): {"bytes": file.stat().st_size, "sha256": sha256_file(file)}
        for file in files
    }


def _verify_files(store: Path, files: dict[str, dict[str, Any]]) -> None:
    remedy = "write the store again, or restore it from a copy"
    missing = [name for name in files if not (store / name).is_file()]
    if missing:
        absent = ", ".join(missing)
        raise StoreError(f"{len(missing)} files of {store} are missing", got=absent, remedy=remedy)
    for name, entry in files.items():
        size = (store / name).stat().st_size
        if size != entry["bytes"]:
            expected, got = f"{entry['bytes']} bytes", f"{size} bytes"
            raise StoreError(f"{store / name} is truncated", expected=expected, got=got, remedy=remedy)
        if sha256_file(store / name) != entry["sha256"]:
            raise StoreError(f"{store / name} is damaged", got="another SHA-256 than recorded", remedy=remedy)


def _replace(partial: Path, path: Path) -> None:
    """Rename into place; an old store is moved aside first, so the path never holds a mixture."""
    if path.exists():
        aside = path.with_name(f".{path.name}.old-{os.getpid()}")
        path.replace(aside)
        partial.replace(path)
        shutil.rmtree(aside)
    else:
        partial.replace(path)
