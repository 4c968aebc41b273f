"""Files of named tensors, safetensors or torch's, read one tensor at a time into memory of its own.

A mapped file is closed after every read. Otherwise the pages of all tensors read so far would count as memory, and a caller that
computes in place would change what the next reader of the same tensor sees (both libraries map files copy-on-write).
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from explaind.errors import StoreError

__all__ = ["Entry", "SafetensorsFile", "TensorFile", "TorchFile", "read_json_file"]

_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True)
class Entry:
    """What a file's header says about a tensor."""

    dtype: str
    shape: tuple[int, ...]


class TensorFile(Protocol):
    """A file of named tensors.

    Attributes:
        path: of the file.
        entries: dtype and shape by name.
    """

    path: Path
    entries: dict[str, Entry]

    def read(self, name: str, part: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """A tensor, or a part of it, contiguous and the caller's own."""
        ...


class SafetensorsFile:
    """A safetensors file (see `TensorFile`).

    Args:
        path: of the file.
        holds: what the file is needed for, for messages, such as "model.norm.weight".

    Raises:
        StoreError: no such file, or a damaged or truncated one.
    """

    def __init__(self, path: Path, holds: str) -> None:
        self.path, self._holds = path, holds
        with self._open() as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            self.entries = {
                name: Entry(_DTYPES.get(part.get_dtype(), part.get_dtype()), tuple(part.get_shape()))
                for name, part in slices.items()
            }

    def read(self, name: str, part: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """See `TensorFile.read`."""
        with self._open() as file:
            return _own(file.get_tensor(name), part)

    def _open(self) -> safe_open:
        try:
            return safe_open(self.path, "pt")
        except (SafetensorError, OSError) as error:
            raise _unreadable(self.path, self._holds, str(error)) from error


class TorchFile:
    """A file of torch.save, tensors in dictionaries; names are the keys joined by dots (see `TensorFile`).

    Args:
        path: of the file.
        holds: what the file is needed for, for messages.

    Raises:
        StoreError: no such file, a damaged one, one that asks for more than tensors and plain values, or one of torch's old
            format.
    """

    def __init__(self, path: Path, holds: str) -> None:
        self.path, self._holds = path, holds
        self.entries = {
            name: Entry(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
            for name, tensor in _tensors(self.content())
        }

    def read(self, name: str, part: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """See `TensorFile.read`."""
        return _own(dict(_tensors(self.content()))[name], part)

    def content(self) -> Any:
        """All of it, its tensors mapped from the file."""
        try:
            with self.path.open("rb") as stream:
                if stream.read(2) != b"PK":
                    raise StoreError(
                        f"{self.path}, which should hold {self._holds}, is no file of torch.save in its present format",
                        expected="a zip archive, as torch.save writes it since torch 1.6",
                        got="other bytes at its beginning",
                        remedy="save the state again with torch.save, or check the path",
                    )
            return torch.load(self.path, map_location="cpu", weights_only=True, mmap=True)
        except pickle.UnpicklingError as error:
            refused = re.search(r"GLOBAL (\S+)", str(error))
            raise StoreError(
                f"{self.path} asks for more than tensors, so it was not opened",
                expected="tensors, numbers and text in dictionaries and lists",
                got=refused[1] if refused else str(error).splitlines()[0],
                remedy="save the tensors alone: a pickle can run any code",
            ) from error
        except (RuntimeError, OSError, EOFError, ValueError) as error:
            raise _unreadable(self.path, self._holds, str(error).splitlines()[0]) from error


def read_json_file(path: Path) -> Any:
    """The content of a JSON file that a checkpoint needs.

    Raises:
        StoreError: no such file, or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path} is {'damaged' if path.is_file() else 'missing'}",
            expected="a JSON file",
            got=f"{type(error).__name__}: {error}",
            remedy="check the path, or copy the checkpoint again",
        ) from error


def _tensors(content: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        yield prefix, content
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _tensors(value, f"{prefix}.{key}" if prefix else str(key))


def _own(tensor: Tensor, part: Callable[[Tensor], Tensor] | None) -> Tensor:
    chosen = tensor if part is None else part(tensor)
    return chosen.detach().clone(memory_format=torch.contiguous_format)


def _unreadable(path: Path, holds: str, got: str) -> StoreError:
    return StoreError(
        f"{path}, which should hold {holds}, is {'damaged or truncated' if path.is_file() else 'missing'}",
        expected="a complete file",
        got=got,
        remedy="copy or download it again",
    )
