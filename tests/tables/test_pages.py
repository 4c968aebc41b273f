"""The pages of tables in the report."""

from __future__ import annotations

from pathlib import Path

from explaind.tables.pages import write_page


def test_page_shows_every_cell_escaped(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("claim,value,count\na < b & c,0.123456,3\nnone,,1200\nbig,2e9,7\n")
    write_page(table, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    for text in ("<td>a &lt; b &amp; c</td>", ">0.1235<", ">-<", ">1200<", ">2e+09<", "<title>table</title>"):
        assert text in page
    assert page.count("<tr>") == 4
