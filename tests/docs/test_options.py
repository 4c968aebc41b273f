"""docs/options.md is what the options' definitions say."""

from __future__ import annotations

from explaind.config.listing import PAGE, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "Run: python -m explaind.config.listing"
