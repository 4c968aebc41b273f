"""One version: explaind.__version__, which pyproject.toml and CITATION.cff follow."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

import explaind

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_package_has_no_second_version() -> None:
    assert "version" not in PYPROJECT["project"]
    assert PYPROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "explaind.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", explaind.__version__)


def test_the_citation_names_this_version() -> None:
    assert str(yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]) == explaind.__version__
