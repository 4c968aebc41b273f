"""The columns of a written table against its declaration: a table has what results/README.md says, in that order."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from explaind.config.declarations import Table
from explaind.errors import DataError

__all__ = ["check_columns", "check_table"]


def check_table(table: Table, outputs: Mapping[str, Path]) -> None:
    """`check_columns` for all outputs of a table.

    Args:
        table: its declaration.
        outputs: argument name → file: `output`, and those of `table.also`.

    Raises:
        DataError: a file has other columns than declared.
    """
    declared = {"output": table.columns, **table.also_columns}
    for name, path in outputs.items():
        check_columns(path, declared[name])


def check_columns(path: Path, columns: Iterable[str]) -> None:
    """Compare a CSV's header with the declared names.

    Args:
        path: the CSV.
        columns: names in order; one with "{…}" stands for any number of columns that follow each other, any text in its place.

    Raises:
        DataError: a column is missing, there is one more, or the order differs.
    """
    columns = list(columns)
    with Path(path).open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file), [])
    pattern = "".join(f"(?:{_pattern(name)}\n)" + ("*" if "{" in name else "") for name in columns)
    if not re.fullmatch(pattern, "".join(f"{name}\n" for name in header)):
        raise DataError(
            f"The table {Path(path).name} has other columns than its module declares.",
            expected=", ".join(columns),
            got=", ".join(header) or "no header",
            remedy="Correct TABLE.columns, or what the module writes; the order counts.",
        )


def _pattern(name: str) -> str:
    """A regular expression for one column: its letters, and anything for "{…}"."""
    return re.sub(r"\\\{.*?\\\}", "[^\n]+", re.escape(name))
