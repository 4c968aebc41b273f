"""What is made from declarations and options in the documentation: `make docs` writes it, a test compares it with its source.

A page that is written by hand but for one part has that part between two markers.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from explaind.config.listing import page
from explaind.config.product_map import results_map
from explaind.config.requests import requests_table
from explaind.errors import ConfigError
from explaind.planning.scale import scale_table

__all__ = ["BEGIN", "END", "PAGES", "renewed", "with_part"]

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- made from the declarations: make docs -->", "<!-- end -->"

#: Page → the text between its markers.
PARTS: dict[str, Callable[[], str]] = {
    "results/README.md": results_map,
    "docs/cluster.md": requests_table,
    "docs/scale.md": scale_table,
}
#: Pages that are made as a whole.
WHOLE: dict[str, Callable[[], str]] = {"docs/options.md": page}
PAGES = (*PARTS, *WHOLE)


def renewed(name: str) -> str:
    """The text of a page, one of `PAGES`, with its generated part made again.

    Raises:
        ConfigError: it does not have each marker once, in order.
    """
    if name in WHOLE:
        return WHOLE[name]()
    return with_part((ROOT / name).read_text(encoding="utf-8"), PARTS[name](), name)


def with_part(text: str, part: str, name: str) -> str:
    """The text with this part between its markers.

    Raises:
        ConfigError: as of `renewed`.
    """
    pieces = re.split(f"{re.escape(BEGIN)}|{re.escape(END)}", text)
    if len(pieces) != 3 or text.index(BEGIN) > text.index(END):
        raise ConfigError(
            f"{name} has no place for what is made from the declarations.",
            expected=f"one line {BEGIN!r}, and one line {END!r} below it",
            got=f"{text.count(BEGIN)} and {text.count(END)}",
            remedy="Put the two lines back around it.",
        )
    before, _, after = pieces
    return f"{before}{BEGIN}\n{part.rstrip()}\n{END}{after}"


def main() -> None:
    """Write all pages in place."""
    for name in PAGES:
        (ROOT / name).write_text(renewed(name), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except ConfigError as error:
        sys.exit(str(error))
