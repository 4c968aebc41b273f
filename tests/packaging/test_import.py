"""Importing the package, its configuration and the command line's help is quick: torch stays out."""

from __future__ import annotations

import subprocess
import sys

import pytest

import explaind
from explaind.config.declarations import figures, tables
from explaind.config.graph import module_of

#: Figures and tables that read the experiment's own data, or share a module with the study that computes what they show.
WITH_TORCH = {
    "examples", "fig04", "fig05", "fig09", "fig13", "fig04_outputs", "fig05_outputs", "fig09_outputs", "fig13_outputs",
    "structure", "structure_outputs", "fig03a_outputs", "fig12_outputs", "fig10", "swap_errors", "text",
}  # fmt: skip

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


def test_figures_and_tables_leave_torch_out() -> None:
    """Each is a process of its own, most of whose time importing torch would be."""
    modules = [module_of(name) for name in sorted({*figures(), *tables()} - WITH_TORCH)]
    code = (
        f"import sys, {', '.join(modules)}\n"
        "sys.exit(', '.join({'torch', 'transformers', 'sklearn', 'scipy.signal'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_public_names_are_there() -> None:
    assert set(explaind.__all__) <= set(dir(explaind))
    for name in explaind.__all__:
        assert getattr(explaind, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'explain'"):
        _ = explaind.explain
