"""What a job's output depends on, as one digest: its configuration, its code, its inputs, and how it computes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from explaind.store.manifest import FILE_NAME, canonical_json, sha256_file

__all__ = ["identity"]

LIBRARIES = ("torch", "numpy")


def identity(inputs: Iterable[Path], **values: Any) -> str:
    """Hexadecimal SHA-256.

    Args:
        inputs: files, stores and folders, as they are now.
        values: configuration, digest of the code, number of threads: what can change a bit of the output. JSON values.
    """
    described = {
        **values,
        "inputs": [[str(path), _content(Path(path))] for path in inputs],
        "libraries": [version(name) for name in LIBRARIES],
    }
    return hashlib.sha256(canonical_json(described).encode()).hexdigest()


def _content(path: Path) -> Any:
    """A file's or a store's checksum; of other folders, whose files may be large, their sizes and times."""
    if path.is_file():
        return sha256_file(path)
    if (path / FILE_NAME).is_file():
        return sha256_file(path / FILE_NAME)  # names every file with its checksum
    files = sorted(each for each in path.rglob("*") if each.is_file())
    return [
        [each.relative_to(path).as_posix(), each.stat().st_size, each.stat().st_mtime_ns] for each in files
    ]
