"""results/README.md's lists of figures and tables, made from their declarations.

`python -m explaind.config.product_map` writes them between the markers; what stands around these is written by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from explaind.config.declarations import Depends, Figure, Product, Table, figures, stages, tables
from explaind.errors import ConfigError

__all__ = ["MAP", "results_map", "with_results_map"]

MAP = Path(__file__).resolve().parents[2] / "results" / "README.md"
BEGIN, END = "<!-- made from the declarations: make docs -->", "<!-- end -->"


def results_map() -> str:
    """The list of figures in the order of their numbers, then those with names; and a section for each table, by file name."""
    ordered = sorted(figures().values(), key=_number)
    lines = ["## Figures: `figures/<file>.pdf` (vector) and `.png`", "", *_list(ordered), ""]
    lines += ["## Tables: `tables/<file>.csv`", ""]
    for table in sorted(tables().values(), key=lambda one: one.file):
        lines += _section(table)
    return "\n".join(lines).rstrip() + "\n"


def with_results_map(text: str) -> str:
    """The text of results/README.md with what stands between the markers made anew.

    Raises:
        ConfigError: it does not have each marker once, in order.
    """
    parts = re.split(f"{re.escape(BEGIN)}|{re.escape(END)}", text)
    if len(parts) != 3 or text.index(BEGIN) > text.index(END):
        raise ConfigError(
            "results/README.md has no place for the lists of figures and tables.",
            expected=f"one line {BEGIN!r}, and one line {END!r} below it",
            got=f"{text.count(BEGIN)} and {text.count(END)}",
            remedy="Put the two lines back around the lists.",
        )
    before, _, after = parts
    return f"{before}{BEGIN}\n{results_map()}{END}{after}"


def _list(found: list[Figure]) -> list[str]:
    rows = [_row("file", "shows", "for"), _row("---", "---", "---")]
    for figure in found:
        shows = f"{figure.shows}: {figure.details}" if figure.details else figure.shows
        rows.append(_row(f"`{figure.file}`", _escape(shows), _needs(figure)))
    return rows


def _section(table: Table) -> list[str]:
    """Title, details, what an experiment needs, and the columns of each output."""
    of = _needs(table)
    text = f"{table.details} {'Of' if table.across else 'For'} {of}.".strip()
    lines = [f"### `{table.file}.csv`: {table.shows}", text, "", *_columns(table.columns), ""]
    for name, file in table.also.items():
        lines += [f"### `{file}.csv`: with `{table.file}.csv`", "", *_columns(table.also_columns[name]), ""]
    return lines


def _columns(columns: Mapping[str, tuple[str, str]]) -> list[str]:
    rows = [_row("column", "unit", "meaning"), _row("---", "---", "---")]
    return rows + [_row(f"`{name}`", unit, _escape(meaning)) for name, (unit, meaning) in columns.items()]


def _needs(product: Product) -> str:
    """Which experiments have it: with which options, and with which values of them where these decide."""
    values = [f"`{key}={value}`" for key, value in sorted(_values(product).items())]
    options = [f"`{product.requires}`"] if product.requires else []
    which = " and ".join([*options, *values])
    which = f"experiments with {which}" if which else "experiments"
    return f"all {which} together" if product.across else which


def _values(declaration: Depends) -> dict[str, str]:
    """The values of options that a stage or product needs, itself or in order to have its inputs."""
    found = dict(declaration.when)
    if isinstance(declaration, Product):
        makers: dict[str, Depends] = {**stages(), **tables()}
        for name, source in declaration.inputs.items():
            maker = makers.get((source if isinstance(source, str) else source[0]).partition(".")[0])
            if maker and name not in declaration.optional:
                found |= _values(maker)
    return found


def _number(figure: Figure) -> tuple[float, str]:
    """Figures with a number first, in its order; then the others by their file's name."""
    number = re.match(r"\d+", figure.label)
    return (float(number[0]) if number else float("inf"), figure.file)


def _row(*cells: str) -> str:
    return " ".join(["|", *(part for cell in cells for part in ((cell, "|") if cell else ("|",)))])


def _escape(text: str) -> str:
    """A vertical bar would end the cell."""
    return text.replace("|", "\\|")


def main() -> None:
    """Write the lists in place."""
    MAP.write_text(with_results_map(MAP.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except ConfigError as error:
        sys.exit(str(error))
