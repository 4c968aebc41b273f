"""Explaining updates is a library of its own: it imports no experiment, and no experiment imports it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "explaind"


@pytest.mark.parametrize(
    ("room", "other"), [("updates", "experiments"), ("updates", "stages"), ("experiments", "updates")]
)
def test_one_room_does_not_import_the_other(room: str, other: str) -> None:
    modules = list((PACKAGE / room).rglob("*.py"))
    assert modules
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            assert not [name for name in names if name.startswith(f"explaind.{other}")], path
