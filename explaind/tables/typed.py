"""The same tables with types and units: a Parquet file beside each CSV, and `load`, which reads it.

Every column carries its unit and meaning as its module declares them: in the file as metadata of the field, in a DataFrame as
`frame.attrs["columns"][name]`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from explaind.config.declarations import Table
from explaind.errors import QueryError, StoreError
from explaind.store.files import atomically

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["load", "write_typed"]

Meanings = Mapping[str, tuple[str, str]]
"""Column, "{…}" in its name standing for any text → (unit, meaning)."""
#: Columns that look like numbers and are none.
TEXTS = ("fraction", "label", "setting", "experiment", "checkpoint")


def write_typed(table: Table, outputs: Mapping[str, Path]) -> None:
    """Write a Parquet file beside every CSV of a table.

    Args:
        table: its declaration.
        outputs: argument name → CSV: `output`, and those of `table.also`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    declared = {"output": table.columns, **table.also_columns}
    for name, path in outputs.items():
        content = pa.Table.from_pandas(_typed(path), preserve_index=False)
        fields = [
            field.with_metadata({"unit": unit, "meaning": meaning})
            for field in content.schema
            for unit, meaning in [_meaning(field.name, declared[name])]
        ]
        labelled = content.cast(pa.schema(fields, metadata={"table": table.shows}))
        atomically(path.with_suffix(".parquet"), partial(pq.write_table, labelled))


def load(name: str, results: Path | str = "results") -> pd.DataFrame:
    """A table of the results, typed: whole numbers, numbers, true or false, and text, each with missing values.

    Args:
        name: of its file without suffix, such as "lds".
        results: the folder of the results.

    Returns:
        The table; `attrs["columns"]` has {"unit": …, "meaning": …} by column, `attrs["shows"]` what the table is about.

    Raises:
        QueryError: there is no such table.
        StoreError: the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = Path(results) / "tables"
    path = folder / f"{name}.parquet"
    if "/" in name or not path.is_file():
        there = sorted(one.stem for one in folder.glob("*.parquet"))
        raise QueryError(
            f"There is no table {name!r} in {folder}.",
            expected=", ".join(there) or "tables, which make figures writes",
            got="no such file",
        )
    try:
        content = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreError(
            f"The table {path} cannot be read", got=str(error), remedy="write it again: snakemake --forcerun"
        ) from error
    frame = content.to_pandas(ignore_metadata=True).convert_dtypes()
    described = {
        field.name: {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        for field in content.schema
    }
    frame.attrs = {"columns": described, "shows": (content.schema.metadata or {}).get(b"table", b"").decode()}
    return frame


def _typed(path: Path) -> pd.DataFrame:
    import pandas as pd

    with path.open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file), [])
    texts = {name: "string" for name in header if name in TEXTS}
    return pd.read_csv(path, dtype=texts).convert_dtypes()


def _meaning(column: str, declared: Meanings) -> tuple[str, str]:
    if column in declared:
        return declared[column]
    for name, meaning in declared.items():
        if "{" in name and re.fullmatch(re.sub(r"\\\{.*?\\\}", ".+", re.escape(name)), column):
            return meaning
    return "", ""
