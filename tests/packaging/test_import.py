"""Importing the package, its configuration and the command line's help is quick: torch stays out."""

from __future__ import annotations

import subprocess
import sys

import pytest

import explaind

CHECK = """
import sys
heavy = sorted({"torch", "xarray", "zarr", "matplotlib", "sklearn"} & set(sys.modules))
sys.exit(", ".join(heavy) or 0)
"""


@pytest.mark.parametrize(
    "statement",
    [
        "import explaind; dir(explaind)",
        "import explaind.config",
        "import explaind.errors",
        "import explaind.cli",
        "from explaind.cli.arguments import make_parser; make_parser().format_help()",
    ],
)
def test_torch_is_not_imported(statement: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\n{CHECK}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_public_names_are_there() -> None:
    assert set(explaind.__all__) <= set(dir(explaind))
    for name in explaind.__all__:
        assert getattr(explaind, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'explain'"):
        _ = explaind.explain
