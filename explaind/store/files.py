"""Small result files (JSON, CSV), written completely or not at all.

Each file is written beside its destination and renamed onto it, so that an interrupted job never leaves half of a table
under its final name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

__all__ = ["atomically", "read_json", "write_csv", "write_json"]


def atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write(partial)` with a path beside `path` that keeps its suffix, then rename it to `path`.

    Args:
        path: destination; its folder is created.
        write: writes one complete file at the path that it is given.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(content: Any, path: Path) -> None:
    """Write `content` as indented JSON; NaN and infinity are refused because JSON has none."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    atomically(path, lambda partial: partial.write_text(text))


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(Path(path).read_text())


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table without its index; floats keep the digits that restore them exactly."""
    atomically(path, lambda partial: frame.to_csv(partial, index=False))
