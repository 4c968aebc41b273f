"""The guide's table of situations is the one that the tests declare."""

from __future__ import annotations

from tests import situations


def test_the_table_is_up_to_date() -> None:
    assert situations.PAGE.read_text(encoding="utf-8") == situations.renewed(), "run make docs"
