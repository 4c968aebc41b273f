"""Tables as small HTML pages, for the report: a CSV can only be downloaded there."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from explaind.store.files import atomically

__all__ = ["write_page"]

STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 1em; color: #222; background: #fff; }
table { border-collapse: collapse; }
th, td { padding: 0.3em 0.8em; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd; max-width: 40em; }
th { border-bottom: 2px solid #888; position: sticky; top: 0; background: #fff; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
"""


def write_page(table: Path, output: Path) -> None:
    """Write the rows of a CSV as one HTML page.

    Args:
        table: a CSV with a header; floats are shown to four significant digits, missing values as a dash.
        output: the page, complete in itself.
    """
    frame = pd.read_csv(table)
    numeric = [pd.api.types.is_numeric_dtype(frame[column]) for column in frame]
    head = "".join(f"<th>{_escape(column)}</th>" for column in frame)
    rows = "\n".join(
        "<tr>" + "".join(_cell(value, number) for value, number in zip(row, numeric, strict=True)) + "</tr>"
        for row in frame.itertuples(index=False, name=None)
    )
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_escape(Path(table).stem)}</title>'
        f"<style>{STYLE}</style></head>\n<body><table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n"
        "</tbody></table></body></html>\n"
    )
    atomically(output, lambda partial: partial.write_text(page, encoding="utf-8"))


def _cell(value: object, number: bool) -> str:
    if pd.isna(value):
        text = "-"
    elif isinstance(value, float):
        text = f"{value:.0f}" if value.is_integer() and abs(value) < 1e6 else f"{value:.4g}"
    else:
        text = str(value)
    return f'<td class="number">{_escape(text)}</td>' if number else f"<td>{_escape(text)}</td>"


def _escape(text: object) -> str:
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
