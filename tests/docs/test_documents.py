"""Pages, and parts of pages, that are made from declarations and options."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from explaind.config.declarations import figures, stages, tables
from explaind.config.documents import BEGIN, END, PAGES, ROOT, renewed, with_part
from explaind.config.product_map import results_map
from explaind.config.requests import requests_table
from explaind.errors import ConfigError


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == renewed(name), (
        "Its source has changed: run make docs."
    )


def test_everything_is_in_the_map() -> None:
    text = results_map()
    for one in (*figures().values(), *tables().values()):
        assert f"`{one.file}" in text and one.shows in text
    for one in tables().values():
        for columns in (one.columns, *one.also_columns.values()):
            assert all(f"| `{name}` |" in text for name in columns)
        assert all(f"### `{file}.csv`" in text for file in one.also.values())


def test_rows_have_as_many_cells_as_their_head() -> None:
    for table in re.findall(r"(?:^\|.*\n)+", results_map(), re.MULTILINE):
        bars = {line.replace("\\|", "").count("|") for line in table.splitlines()}
        assert len(bars) == 1, table


def test_what_stands_around_stays() -> None:
    text = with_part(f"before\n{BEGIN}\nold\n{END}\nafter\n", "new\n", "a.md")
    assert text == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert with_part(text, "new", "a.md") == text


@pytest.mark.parametrize("text", ["nothing", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_lost_markers_are_named(text: str) -> None:
    with pytest.raises(ConfigError, match="has no place for what is made"):
        with_part(text, "new", "a.md")


def test_every_stage_is_in_the_table_of_requests() -> None:
    text = requests_table()
    assert all(f"| `{name}` |" in text for name in stages())


def test_the_map_is_made_without_running_the_modules() -> None:
    heavy = "('torch', 'matplotlib', 'pandas', 'explaind.figures.style')"
    make = "import sys, explaind.config.documents as m; [m.renewed(name) for name in m.PAGES]"
    code = f"{make}; assert not {{*{heavy}}} & {{*sys.modules}}"
    subprocess.run([sys.executable, "-c", code], check=True)
