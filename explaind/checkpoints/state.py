"""The state of AdamW in our own folders, and what every reader of such a state offers.

`state.json` holds the hyperparameters, and size and SHA-256 of the other files; `optimizer.safetensors` holds exp_avg.<name> and
exp_avg_sq.<name>, each in its parameter's shape.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from explaind.checkpoints.checks import MOMENT_DTYPES, MOMENTS, check_entry, check_names
from explaind.checkpoints.hyperparameters import Hyperparameters, hyperparameters_from
from explaind.checkpoints.options import GroupedHyperparameters
from explaind.checkpoints.tensor_files import SafetensorsFile, read_json_file
from explaind.errors import StoreError
from explaind.store import canonical_json, sha256_file

__all__ = ["OPTIMIZER", "SCHEMA_VERSION", "STATE", "ExplaindState", "OptimizerState", "find_file", "seal"]

SCHEMA_VERSION = 1
STATE = "state.json"
OPTIMIZER = "optimizer.safetensors"


class OptimizerState(Protocol):
    """A reader of an optimizer's state.

    Attributes:
        path: the file of the moments.
        hyperparameters: of the update that follows.
        notes: what the reader had to decide, in full sentences.
    """

    path: Path
    notes: tuple[str, ...]

    @property
    def hyperparameters(self) -> Hyperparameters | GroupedHyperparameters: ...

    def moment(self, kind: str, name: str) -> Tensor:
        """exp_avg (of SGD the momentum buffer) or exp_avg_sq (`kind`) of a parameter, in its shape, the caller's own."""
        ...

    def check_files(self) -> None:
        """Raise StoreError for a file that differs from its recorded digest, where digests were recorded."""
        ...


class ExplaindState:
    """State that `write_checkpoint` wrote (see `OptimizerState`).

    Args:
        folder: with state.json and optimizer.safetensors.
        shapes: of the parameters, by name.
        whole: are the weights those of this folder too? Then all its files are checked, else the optimizer's.

    Raises:
        StoreError: a missing, damaged or truncated file, another schema version, or the state of another model.
    """

    def __init__(self, folder: Path, shapes: dict[str, tuple[int, ...]], *, whole: bool) -> None:
        self.path = folder / OPTIMIZER
        self.notes: tuple[str, ...] = ()
        body = _read_state(folder / STATE)
        self._files = {
            name: recorded for name, recorded in body["files"].items() if whole or name == OPTIMIZER
        }
        self._check_sizes(folder)
        self.hyperparameters = hyperparameters_from(body["hyperparameters"], folder / STATE)
        self._file = SafetensorsFile(self.path, f"exp_avg.{next(iter(shapes))}")
        expected = {f"{kind}.{name}": shape for kind in MOMENTS for name, shape in shapes.items()}
        check_names(expected, self._file.entries, lambda name: self.path)
        for name, shape in expected.items():
            check_entry(self.path, name, self._file.entries[name], shape, MOMENT_DTYPES)

    def moment(self, kind: str, name: str) -> Tensor:
        """See `OptimizerState.moment`."""
        return self._file.read(f"{kind}.{name}")

    def check_files(self) -> None:
        """See `OptimizerState.check_files`."""
        for name, recorded in self._files.items():
            digest = sha256_file(self.path.parent / name)
            if digest != recorded["sha256"]:
                raise StoreError(
                    f"{self.path.parent / name} is not the file that was written",
                    expected=f"SHA-256 {recorded['sha256']}",
                    got=f"SHA-256 {digest}",
                    remedy="restore it from a copy, or write the checkpoint again",
                )

    def _check_sizes(self, folder: Path) -> None:
        for name, recorded in self._files.items():
            path = folder / name
            size = path.stat().st_size if path.is_file() else None
            if size != recorded["bytes"]:
                raise StoreError(
                    f"{path} is {'missing' if size is None else 'truncated or altered'}",
                    expected=f"{recorded['bytes']} bytes",
                    got="no such file" if size is None else f"{size} bytes",
                    remedy="restore it from a copy, or write the checkpoint again",
                )


def seal(folder: Path, hyperparameters: Hyperparameters, names: tuple[str, ...]) -> dict[str, Any]:
    """The content of `state.json` for the files `names` in a folder."""
    body: dict[str, Any] = {
        "kind": "checkpoint",
        "schema_version": SCHEMA_VERSION,
        "hyperparameters": hyperparameters.as_json(),
        "files": {
            name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)}
            for name in names
        },
    }
    return {**body, "digest": _digest(body)}


def find_file(path: Path, names: tuple[str, ...]) -> Path:
    """`path` itself if it is a file, else the one of `names` that is in it.

    Raises:
        StoreError: there is none, or more than one.
    """
    if path.is_file():
        return path
    present = [path / name for name in names if (path / name).is_file()]
    if len(present) != 1:
        raise StoreError(
            f"There is no single file of optimizer state in {path}",
            expected=" or ".join(names),
            got=", ".join(file.name for file in present) or "none of them",
            remedy="name the file, or the folder that holds it",
        )
    return present[0]


def _read_state(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise StoreError(
            f"There is no optimizer state in {path.parent}",
            expected=f"{STATE} and {OPTIMIZER}, as explaind writes them",
            got=f"no {STATE}",
            remedy="give the folder of the optimizer's state, and its format: explaind, torch or megatron",
        )
    body = read_json_file(path)
    version = body.get("schema_version") if isinstance(body, dict) else None
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{path} has another schema version",
            expected=f"version {SCHEMA_VERSION}",
            got=f"version {version}",
            remedy="read it with the release of explaind that wrote it",
        )
    digest = body.pop("digest", None)
    if digest != _digest(body):
        raise StoreError(
            f"{path} is damaged",
            expected="text that agrees with its own digest",
            got="text that differs from it",
            remedy="restore it from a copy, or write the checkpoint again",
        )
    return body


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(body).encode()).hexdigest()
