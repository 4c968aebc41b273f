"""The linear datamodel scores of every experiment and method, in one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from explaind.store.files import write_csv
from explaind.studies.datamodel import COLUMNS

__all__ = ["write"]


def write(scores: Sequence[Path], *, output: Path) -> None:
    """Put the experiments' rows together, as CSV with the study's `COLUMNS`.

    Args:
        scores: CSV of each experiment's study.
        output: the CSV to write.
    """
    parts = [pd.read_csv(path, dtype={"fraction": str}) for path in scores]
    write_csv(pd.concat(parts)[list(COLUMNS)], output)
