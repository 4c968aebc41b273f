"""The modules that users import from are among those whose types are checked."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import explaind

ROOT = Path(__file__).parents[2]
CHECKED = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["files"]


def test_every_public_name_comes_from_a_checked_module() -> None:
    sources = {name: getattr(explaind, name).__module__ for name in explaind.__all__}
    files = {name: Path(importlib.import_module(module).__file__) for name, module in sources.items()}
    unchecked = {
        name: str(file.relative_to(ROOT))
        for name, file in files.items()
        if not any(file.is_relative_to(ROOT / entry) for entry in CHECKED)
    }
    assert not unchecked, "add these to `files` of [tool.mypy] in pyproject.toml"


def test_every_checked_file_is_there() -> None:
    assert [entry for entry in CHECKED if not (ROOT / entry).exists()] == []
