"""results/README.md's lists of figures and tables, made from their declarations."""

from __future__ import annotations

import re
from collections.abc import Mapping

from explaind.config.declarations import Depends, Figure, Product, Table, figures, tables
from explaind.config.graph import origins

__all__ = ["results_map"]


def results_map() -> str:
    """The list of figures in the order of their numbers, then those with names; and a section for each table, by file name."""
    ordered = sorted(figures().values(), key=_number)
    lines = ["## Figures: `figures/<file>.pdf` (vector) and `.png`", "", *_list(ordered), ""]
    lines += [
        "## Tables: `tables/<file>.csv`",
        "",
        "Beside each, the same as `<file>.parquet`, with types, units and meanings: "
        '`explaind.tables.load("lds")`.',
        "",
    ]
    for table in sorted(tables().values(), key=lambda one: one.file):
        lines += _section(table)
    return "\n".join(lines).rstrip() + "\n"


def _list(listed: list[Figure]) -> list[str]:
    rows = [_row("file", "shows", "for"), _row("---", "---", "---")]
    for figure in listed:
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
    requires = (product.requires,) if isinstance(product.requires, str) else product.requires
    options = [f"`{either}`".replace(" | ", "` or `") for either in requires]
    which = " and ".join([*options, *values])
    which = f"experiments with {which}" if which else "experiments"
    return f"all {which} together" if product.across else which


def _values(declaration: Depends) -> dict[str, str]:
    """The values of options that a stage or product needs, itself or in order to have its inputs."""
    options = dict(declaration.when)
    if isinstance(declaration, Product):
        for name, source in declaration.inputs.items():
            # Of a list, an experiment may lack some.
            if name not in declaration.optional and not isinstance(source, list):
                options |= _values(origins(source)[0].maker)
    return options


def _number(figure: Figure) -> tuple[float, str]:
    """Figures with a number first, in its order; then the others by their file's name."""
    number = re.match(r"\d+", figure.label)
    return (float(number[0]) if number else float("inf"), figure.file)


def _row(*cells: str) -> str:
    return " ".join(["|", *(part for cell in cells for part in ((cell, "|") if cell else ("|",)))])


def _escape(text: str) -> str:
    """A vertical bar would end the cell."""
    return text.replace("|", "\\|")
