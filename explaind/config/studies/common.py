"""What the options of several studies share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from explaind.config.group import Wrong

__all__ = ["NODES", "RESIDUAL", "TAIL", "unknown_modules"]

RESIDUAL = "largest residual of each step, test sample and output"
NODES = "midpoint nodes at most"
TAIL = "weight in the momentum at which updates before the explained ones are cut off"


def unknown_modules(key: str, paths: Iterable[str], whole: Any) -> Iterator[Wrong]:
    """Modules that the model does not have, where its options name all that can be asked for."""
    known = type(whole.model).module_names
    for path in paths:
        if known and path not in known:
            yield key, f"one of {', '.join(known)}", path
