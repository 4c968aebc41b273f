"""The scripts in docs/examples run, at toy size, and are certified."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import torch

SCRIPTS = sorted((Path(__file__).parents[2] / "docs" / "examples").glob("*.py"))


@pytest.mark.filterwarnings("ignore")  # of the libraries, and of a tolerance that a toy run does not need
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_run(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sum(bool(line.strip()) for line in script.read_text().splitlines()) <= 60
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script), "2"])
    with torch.random.fork_rng():
        runpy.run_path(str(script), run_name="__main__")
    assert "certified: True" in capsys.readouterr().out
    assert len(list(tmp_path.glob("*.png"))) == 1
