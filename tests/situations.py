"""The table of situations in docs/own-run.md, made from the tests that prove its rows.

A test is marked `@situation(kind, what, answer)`; `make docs` writes the table, and a test compares the page with it.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "own-run.md"
BEGIN, END = "<!-- made from the tests: make docs -->", "<!-- end -->"

#: Answers. Questions about single training samples too agree with an independent definition in float64; or only those do that sum
#: over them.
EXACT = "exact"
EXACT_SUMMED = "exact with summed samples"
#: The table's sections, in order.
KINDS = (
    "The loop",
    "Optimizers",
    "Randomness in the model",
    "Precision",
    "Runs that change",
    "Models and losses",
    "Data",
    "Trainers",
    "Recordings",
)

#: (kind, what) → answer, as the imported tests declare them.
DECLARED: dict[tuple[str, str], str] = {}


def situation(kind: str, what: str, answer: str) -> pytest.MarkDecorator:
    """Mark the test that proves a row.

    Args:
        kind: one of `KINDS`.
        what: the situation, in the words of a user.
        answer: EXACT, EXACT_SUMMED, or what refused() returns.
    """
    assert kind in KINDS, kind
    assert answer in (EXACT, EXACT_SUMMED) or answer.startswith("refused: "), answer
    assert DECLARED.setdefault((kind, what), answer) == answer, f"{what} has two answers"
    return pytest.mark.situation(kind, what, answer)


def refused(reason: str) -> str:
    """The answer of a situation that is not explained, with its reason."""
    return f"refused: {reason}"


def declaring() -> list[str]:
    """The modules of tests that declare situations."""
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in paths
        if "import" in (text := path.read_text(encoding="utf-8")) and "tests.situations" in text
    ]


def table() -> str:
    """The table in Markdown, sections in the order of `KINDS`, rows by their words."""
    for module in declaring():
        importlib.import_module(module)
    lines = ["| situation | answer |", "| --- | --- |"]
    for kind in KINDS:
        rows = sorted((what, answer) for (of, what), answer in DECLARED.items() if of == kind)
        lines += [f"| **{kind}** | |"] if rows else []
        lines += [f"| {what} | {answer} |" for what, answer in rows]
    return "\n".join(lines)


def renewed() -> str:
    """The guide with its table made again."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.split(END, 1)[1]}"


if __name__ == "__main__":
    # By its name, and not as __main__: tests import the module that collects what they declare.
    PAGE.write_text(importlib.import_module("tests.situations").renewed(), encoding="utf-8")
