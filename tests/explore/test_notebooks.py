"""The notebooks of docs/notebooks run, and hold their outputs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = {"own_run", "language_model_update", "grokking_from_results"}
LARGEST = 200_000  # bytes


def test_every_notebook_is_tested() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == NOTEBOOKS


@pytest.mark.parametrize("name", sorted(NOTEBOOKS))
def test_it_runs(name: str, results: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every cell, as Python. The stored results are those of a small run."""
    monkeypatch.setenv("EXPLAIND_RESULTS", str(results))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    space: dict[str, object] = {}
    for cell in nbformat.read(FOLDER / f"{name}.ipynb", 4).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{name}, {cell.id}", "exec"), space)


@pytest.mark.parametrize("name", sorted(NOTEBOOKS))
def test_it_holds_what_it_shows(name: str) -> None:
    path = FOLDER / f"{name}.ipynb"
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert path.stat().st_size < LARGEST
    shown = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
    assert len(shown) >= 2 and all(
        cell.execution_count for cell in notebook.cells if cell.cell_type == "code"
    )
    errors = [output for cell in shown for output in cell.outputs if output.output_type == "error"]
    assert not errors
