"""Tables are what they declare: arguments, columns, and nothing that needs their modules to be run."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path

import pandas as pd
import pytest

from explaind.config.declarations import Table, tables
from explaind.errors import DataError
from explaind.tables import timings
from explaind.tables.columns import check_columns, check_table
from tests.tables.made_tables import MODULES, WRITE, write_table


@pytest.mark.parametrize("name", tables())
def test_a_table_takes_what_it_declares(name: str) -> None:
    declared, module = tables()[name], importlib.import_module(f"explaind.tables.{name}")
    assert declared == module.TABLE
    given = inspect.signature(module.write).parameters
    config = {"config"} if declared.options else set()
    assert set(given) == {*config, "output", *declared.also, *declared.inputs}
    optional = {key for key, one in given.items() if one.default is not one.empty}
    assert optional == set(declared.optional)
    assert all(one.kind is one.KEYWORD_ONLY for key, one in given.items() if key != "config")
    assert set(declared.also) == set(declared.also_columns)


def test_files_have_names_of_their_own() -> None:
    files = [file for one in tables().values() for file in (one.file, *one.also.values())]
    assert len(set(files)) == len(files)


@pytest.mark.parametrize("name", WRITE)
def test_a_table_has_the_declared_columns(name: str, results, tmp_path: Path) -> None:
    check_table(MODULES[name].TABLE, write_table(name, results, tmp_path))


def test_no_table_is_left_out() -> None:
    assert set(WRITE) == set(tables())


def test_findings_share_their_columns() -> None:
    first, *others, by_choice = (
        list(tables()[name].columns.items())
        for name in ("findings_pretraining", "findings_pruning", "findings_transplant", "findings_outputs")
    )
    assert all(other == first for other in others)
    assert first == by_choice[1:] and by_choice[0][0] == "choice"


@pytest.mark.parametrize(
    ("declared", "header", "fits"),
    [
        ("a b", "a,b", True),
        ("a b", "b,a", False),
        ("a b", "a,b,c", False),
        ("a b", "a", False),
        ("a e_{n} b", "a,e_1,e_3,b", True),
        ("a e_{n} b", "a,b", True),
        ("a e_{n} b", "a,e_,b", False),
        ("a e_{n} b", "e_1,a,b", False),
        ("a.b", "a-b", False),
        ("a", "", False),
    ],
)
def test_columns_are_held_against_names(declared: str, header: str, fits: bool, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"{header}\n1,2\n" if header else "")
    if fits:
        check_columns(tmp_path / "t.csv", declared.split())
        return
    with pytest.raises(DataError) as caught:
        check_columns(tmp_path / "t.csv", declared.split())
    assert "t.csv has other columns" in str(caught.value) and (header or "no header")[0] in caught.value.got


def test_every_output_is_checked(tmp_path: Path) -> None:
    table = Table(
        file="t", shows="", caption="", inputs={}, columns={"a": ("", "")},
        also={"more": "t_more"}, also_columns={"more": {"b": ("", "")}},
    )  # fmt: skip
    for name, column in (("output", "a"), ("more", "c")):
        (tmp_path / f"{name}.csv").write_text(f"{column}\n")
    paths = {name: tmp_path / f"{name}.csv" for name in ("output", "more")}
    with pytest.raises(DataError, match=r"more\.csv has other columns"):
        check_table(table, paths)


def test_timings_are_put_together(tmp_path: Path) -> None:
    """Ranges are added up, other jobs are rows of their own; what was too short to be measured is empty."""
    records = {
        "record": [(3.0, 50.0)],
        "quadrature/10": [(1.0, 10.0)],
        "quadrature/100": [(9.0, 12.0)],
        "influence/000000-000010": [(2.0, 20.0)],
        "influence/000010-000020": [(4.0, "NA")],
        "retrain/0.5/000000-000002": [(1.5, "NA")],
        "explain_update/main-1.5": [(0.5, 1.0), (0.7, 2.0)],
    }
    paths = []
    for name, lines in records.items():
        path = tmp_path / "benchmarks" / "mnist" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps({"s": s, "h:m:s": "0", "max_rss": m}) + "\n" for s, m in lines))
        paths.append(path)
    timings.write(benchmarks=paths, output=tmp_path / "t.csv")
    table = pd.read_csv(tmp_path / "t.csv", keep_default_na=False)
    assert set(table.experiment) == {"mnist"}
    assert list(zip(table.rule, table.of, table.jobs, table.seconds, table.max_seconds, table.max_memory, strict=True)) == [
        ("record", "", 1, 3.0, 3.0, "50.0"),
        ("quadrature", "10", 1, 1.0, 1.0, "10.0"),
        ("quadrature", "100", 1, 9.0, 9.0, "12.0"),
        ("influence", "", 2, 6.0, 4.0, "20.0"),
        ("retrain", "0.5", 1, 1.5, 1.5, ""),
        ("explain_update", "main-1.5", 2, 1.2, 0.7, "2.0"),
    ]  # fmt: skip
