"""The manifest of a store: what it holds, who wrote it, and checksums that make silent damage impossible.

A store is a directory. Its `manifest.json` names its kind ("trajectory", "influence", ...), its schema version,
the library versions that wrote it, and a digest of the manifest itself, so that a flipped bit is an error and never
a result. Files are replaced by renaming, so a reader sees the old manifest or the new one, never half of one.
"""

from __future__ import annotations

import hashlib
import json
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from explaind.errors import StoreError

SCHEMA_VERSION = 3
FILE_NAME = "manifest.json"
LIBRARIES = ("torch", "numpy", "zarr", "xarray")


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text, fit for hashing and comparing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomic(path: Path, payload: bytes) -> None:
    """Replace `path` by `payload`: after a crash the file is the old one or the new one, and complete."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as stream:
        stream.write(payload)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


def write_manifest(store: Path, content: dict[str, Any], *, kind: str) -> None:
    """Write `store/manifest.json`: `content` plus kind, schema version, library versions and the self-digest.

    Raises:
        StoreError: `content` cannot be written as JSON.
    """
    body = {"kind": kind, "schema_version": SCHEMA_VERSION, "libraries": _library_versions(), **content}
    try:
        body["digest"] = _digest(body)
    except TypeError as error:
        raise StoreError(
            f"The manifest of {store} cannot be written as JSON",
            expected="text, numbers, booleans, None, and lists and dictionaries of these",
            got=str(error),
        ) from error
    write_atomic(Path(store) / FILE_NAME, json.dumps(body, indent=1, ensure_ascii=False).encode())


def read_manifest(store: Path | str, kind: str | None = None) -> dict[str, Any]:
    """Read and verify the manifest of a store.

    Args:
        store: directory of the store.
        kind: if given, the kind the store must have.

    Raises:
        StoreError: no such store, no manifest, a damaged manifest, another schema version, or another kind.
    """
    store = Path(store)
    path = store / FILE_NAME
    if not path.is_file():
        raise StoreError(
            f"There is no {kind or 'ExPLAIND'} store at {store}",
            expected=f"a directory with a {FILE_NAME}",
            got="a directory without one" if store.is_dir() else "no such directory",
            remedy="check the path, or run the stage that writes this store",
        )
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        recorded = body.pop("digest")
        intact = recorded == _digest(body)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, f"unreadable text ({type(error).__name__})") from error
    if body.get("schema_version") != SCHEMA_VERSION:
        raise StoreError(
            f"The store {store} has another schema version",
            expected=f"version {SCHEMA_VERSION}",
            got=f"version {body.get('schema_version')}, written with {body.get('libraries')}",
            remedy="read it with the release of explaind that wrote it, or write it again",
        )
    if not intact:
        raise _damaged(path, "text that differs from its own digest")
    if kind is not None and body["kind"] != kind:
        raise StoreError(
            f"The store {store} holds something else",
            expected=f"kind '{kind}'",
            got=f"kind '{body['kind']}'",
            remedy="check the path",
        )
    return body


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(body).encode()).hexdigest()


def _damaged(path: Path, got: str) -> StoreError:
    return StoreError(
        f"The manifest {path} is damaged",
        expected="JSON text that agrees with its own digest",
        got=got,
        remedy="write the store again, or restore it from a copy",
    )


def _library_versions() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return versions
