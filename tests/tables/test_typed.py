"""Typed tables: what the CSV holds, with types, units and meanings."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from explaind.config.declarations import Table
from explaind.errors import QueryError, StoreError
from explaind.tables import load
from explaind.tables.typed import write_typed

TABLE = Table(
    file="made",
    shows="what was made",
    caption="",
    inputs={},
    columns={
        "fraction": ("share", "of the samples"),
        "count": ("", "of them"),
        "score": ("nats", "of a method"),
        "passed": ("", "true or false"),
        "nodes {n}": ("nats", "with so many nodes"),
    },
)
TEXT = "fraction,count,score,passed,nodes 1,nodes 3\n0.5,3,0.1234567890123456,True,1.5,2\nleave-one-out,,,False,-2,\n"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    csv = tmp_path / "tables" / "made.csv"
    csv.parent.mkdir()
    csv.write_text(TEXT)
    write_typed(TABLE, {"output": csv})
    return tmp_path


def test_columns_have_types_units_and_meanings(results: Path) -> None:
    frame = load("made", results)
    assert [str(kind) for kind in frame.dtypes] == [
        "string",
        "Int64",
        "Float64",
        "boolean",
        "Float64",
        "Int64",
    ]
    assert frame.fraction.tolist() == ["0.5", "leave-one-out"] and frame.passed.tolist() == [True, False]
    assert frame["count"].isna().tolist() == [False, True]
    assert frame.score[0] == 0.1234567890123456, "to the last digit"
    assert frame.attrs["columns"]["score"] == {"unit": "nats", "meaning": "of a method"}
    assert frame.attrs["columns"]["nodes 3"]["meaning"] == "with so many nodes"
    assert frame.attrs["shows"] == "what was made"
    plain = pd.read_parquet(results / "tables" / "made.parquet")
    assert plain.score[0] == frame.score[0] and list(plain) == list(frame)


@pytest.mark.parametrize("name", ["other", "../tables/made"])
def test_a_table_that_is_not_there_is_refused_with_those_that_are(results: Path, name: str) -> None:
    with pytest.raises(QueryError, match="Expected: made"):
        load(name, results)


def test_a_damaged_table_is_refused(results: Path) -> None:
    path = results / "tables" / "made.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StoreError, match="cannot be read"):
        load("made", results)
