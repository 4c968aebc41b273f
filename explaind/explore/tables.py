"""The small files beside a run's stores, which carry no checksum: what is not as the workflow writes it is noted and left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from explaind.store.files import read_json

__all__ = ["read_curves", "read_phases"]

_STEPS = ("steps", "memorization_step", "generalization_step")


def read_curves(path: Path, notes: list[str]) -> pd.DataFrame:
    """What was logged during training, by step. Columns that are not numbers are left out, with a note; so is the whole file,
    if its steps are not."""
    try:
        table = pd.read_csv(path)
        steps = table["step"]
    except (
        OSError,
        ValueError,
        KeyError,
    ) as error:  # pandas' parser errors and undecodable bytes are ValueErrors
        notes.append(_words(path, "a table with the column step", error))
        return pd.DataFrame()
    if not pd.api.types.is_numeric_dtype(steps) or not np.isfinite(steps).all():
        notes.append(_words(path, "a number in each row of the column step", "something else"))
        return pd.DataFrame()
    numbers = table.set_index("step").select_dtypes("number")
    lost = [str(name) for name in table.columns if name != "step" and name not in numbers]
    if lost:
        notes.append(_words(path, "columns of numbers", ", ".join(lost)))
    return numbers


def read_phases(path: Path, notes: list[str]) -> dict[str, Any]:
    """`steps`, `memorization_step` and `generalization_step`; what is no number is left out, with a note."""
    try:
        content = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
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
    return f"{path} cannot be read, and what is not as expected is left out. Expected: {expected}; got: {got}. Make it again."
