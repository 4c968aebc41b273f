"""results/README.md lists the figures and tables as they are declared."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from explaind.config.declarations import figures, tables
from explaind.config.product_map import BEGIN, END, MAP, results_map, with_results_map
from explaind.errors import ConfigError


def test_the_map_is_up_to_date() -> None:
    text = MAP.read_text(encoding="utf-8")
    assert text == with_results_map(text), (
        "The declarations have changed since results/README.md: run make docs."
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
    text = with_results_map(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert text == f"before\n{BEGIN}\n{results_map()}{END}\nafter\n"
    assert with_results_map(text) == text


@pytest.mark.parametrize("text", ["nothing", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_lost_markers_are_named(text: str) -> None:
    with pytest.raises(ConfigError, match="has no place for the lists"):
        with_results_map(text)


def test_the_map_is_made_without_running_the_modules() -> None:
    heavy = "('torch', 'matplotlib', 'pandas', 'explaind.figures.style')"
    code = f"import sys, explaind.config.product_map as m; m.results_map(); assert not {{*{heavy}}} & {{*sys.modules}}"
    subprocess.run([sys.executable, "-c", code], check=True)
