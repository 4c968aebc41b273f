"""The small files beside a run's stores, which carry no checksum: what is not as the workflow writes it is noted and left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from explaind.store.files import read_json

__all__ = ["read_curves", "read_phases"]

_STEPS = ("steps", "memorization_step", "generalization_step")


def read_curves(path: Path, notes: list[str]) -> pd.DataFrame:
    """What was logged during training, by step; empty, with a note, if the file cannot be read."""
    try:
        return pd.read_csv(path).set_index("step").select_dtypes("number")
    except (
        OSError,
        ValueError,
        KeyError,
    ) as error:  # pandas' parser errors and undecodable bytes are ValueErrors
        notes.append(_words(path, "a table with the column step", error))
        return pd.DataFrame()


def read_phases(path: Path, notes: list[str]) -> dict[str, Any]:
    """`steps`, `memorization_step` and `generalization_step`; what is no number is left out, with a note."""
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        notes.append(_words(path, "a JSON object", error))
        return {}
    if not isinstance(content, dict):
        notes.append(_words(path, "a JSON object", type(content).__name__))
        return {}
    wrong = [key for key in _STEPS if not _is_step(content.get(key))]
    if wrong:
        notes.append(
            _words(path, "whole numbers ≥ 0", ", ".join(f"{key}: {content[key]!r}" for key in wrong))
        )
    return {key: value for key, value in content.items() if key not in wrong}


def _is_step(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)


def _words(path: Path, expected: str, got: object) -> str:
    return f"{path} cannot be read and is left out. Expected: {expected}; got: {got}. Make it again."
