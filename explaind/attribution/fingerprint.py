"""Decide whether two Python objects compute the same: a digest of code, constants, captured values and tensors.

A loss or a model has no file of its own. Its digest follows what it is made of: bytecode, defaults, closures, the globals it
names, the values of tensors. Code of installed libraries counts by name. What cannot be followed has no digest, and nothing is
assumed.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LIBRARIES = ("torch", "numpy", "builtins", "math", "functools", "itertools", "operator")
SIMPLE = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size, type(...))


class Unknown(Exception):
    """The object holds something whose behaviour does not follow from its parts."""


def fingerprint(*objects: Any) -> str | None:
    """Hexadecimal SHA-256 of what the objects compute, or None if that cannot be decided."""
    digest = hashlib.sha256()
    try:
        for one in objects:
            _Walk(digest).add(one)
    except (Unknown, RecursionError, RuntimeError):
        return None
    return digest.hexdigest()


class _Walk:
    def __init__(self, digest: Any) -> None:
        self._digest = digest
        self._seen: dict[int, int] = {}

    def _note(self, *words: Any) -> None:
        self._digest.update(repr(words).encode() + b"\0")

    def add(self, value: Any) -> None:
        """Add one object and all it refers to."""
        if isinstance(value, SIMPLE):
            self._note(type(value).__name__, value)
            return
        if id(value) in self._seen:
            self._note("again", self._seen[id(value)])
            return
        self._seen[id(value)] = len(self._seen)
        self._note(type(value).__qualname__)
        if isinstance(value, Tensor):
            self._tensor(value)
        elif isinstance(value, np.ndarray | np.generic):
            self._note(value.dtype.str, value.shape)
            self._digest.update(np.ascontiguousarray(value).tobytes())
        elif isinstance(value, Mapping):
            for key, part in value.items():
                self.add(key)
                self.add(part)
        elif isinstance(value, list | tuple | set | frozenset | range | slice):
            for part in sorted(value, key=repr) if isinstance(value, set | frozenset) else _items(value):
                self.add(part)
        elif isinstance(value, types.CodeType):
            self._code(value)
        elif isinstance(value, types.ModuleType):
            self._note(value.__name__)
        elif isinstance(value, nn.Module):
            self._object(value)
        elif isinstance(value, functools.partial):
            self.add((value.func, value.args, value.keywords))
        elif isinstance(value, types.MethodType):
            self.add(value.__func__)
            self.add(value.__self__)
        elif _of_library(value):
            self._note(getattr(value, "__module__", ""), getattr(value, "__qualname__", repr(value)))
        elif isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, type):
            self._class(value)
        elif callable(value) and hasattr(value, "__dict__"):
            self._object(value)
        else:
            raise Unknown(type(value).__qualname__)

    def _tensor(self, value: Tensor) -> None:
        flat = value.detach().cpu().contiguous().reshape(-1)
        self._note(str(value.dtype), tuple(value.shape), value.requires_grad)
        if flat.numel():
            self._digest.update(flat.view(torch.uint8).numpy().tobytes())

    def _code(self, code: types.CodeType) -> None:
        self._note(code.co_code, code.co_names, code.co_varnames, code.co_argcount, code.co_kwonlyargcount)
        for constant in code.co_consts:
            self.add(constant)

    def _function(self, value: types.FunctionType) -> None:
        self._code(value.__code__)
        self.add((value.__defaults__, value.__kwdefaults__))
        for cell in value.__closure__ or ():
            self.add(cell.cell_contents)
        for name in _names(value.__code__):
            if name in value.__globals__:
                self.add(value.__globals__[name])

    def _class(self, value: type) -> None:
        for base in value.__mro__:
            if _of_library(base):
                self._note(base.__module__, base.__qualname__)
                continue
            for name, part in sorted(vars(base).items()):
                if isinstance(part, (types.FunctionType, staticmethod, classmethod, property, *SIMPLE)):
                    self._note(name)
                    for one in _functions(part):
                        self.add(one)

    def _object(self, value: Any) -> None:
        """A module or a callable object: its class, and everything it holds except values of parameters."""
        self.add(type(value))
        for name, part in vars(value).items():
            self._note(name)
            if name == "_parameters":  # their values are recorded; only which there are counts
                self._note([(key, None if p is None else tuple(p.shape)) for key, p in part.items()])
            elif name not in ("_buffers", "training"):
                self.add(part)


def _items(value: Any) -> Any:
    return (value.start, value.stop, value.step) if isinstance(value, slice) else value


def _names(code: types.CodeType) -> set[str]:
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*inner)


def _functions(part: Any) -> list[Any]:
    if isinstance(part, staticmethod | classmethod):
        return [part.__func__]
    if isinstance(part, property):
        return [one for one in (part.fget, part.fset) if one is not None]
    return [part]


def _of_library(value: Any) -> bool:
    module = getattr(value, "__module__", None) or type(value).__module__
    top = str(module).partition(".")[0]
    if isinstance(
        value, types.BuiltinFunctionType | types.MethodDescriptorType | types.WrapperDescriptorType
    ):
        return True
    return isinstance(value, types.FunctionType | type) and (
        top in LIBRARIES or top in sys.stdlib_module_names
    )
