"""An experiment from a folder of its own goes through the whole workflow, without a change to any file of the project."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from explaind.store import read_dataset
from tests.workflow.conftest import Project

pytestmark = pytest.mark.smoke

ADDED = Path(__file__).parent / "added"


@pytest.fixture(scope="module")
def extended(project: Project) -> Project:
    """A copy of the project with the folder of the experiment and its files in conf/ beside the others'."""
    for source in ADDED.rglob("*"):
        if source.is_file() and "__pycache__" not in source.parts:
            target = project.root / source.relative_to(ADDED)
            assert not target.exists(), "an added file replaces none"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return project


def test_it_is_one_of_all_experiments(extended: Project) -> None:
    result = extended.dry_run("tables", config=("scale=smoke",))
    assert result.returncode == 0, result.stdout
    assert "results/parity/trajectory.zarr" in result.stdout and "results/grokking" in result.stdout


def test_it_runs_to_figures_tables_and_report(extended: Project) -> None:
    result = extended.run("report", config=("scale=smoke", "experiment=parity"))
    assert result.returncode == 0, result.stdout[-6000:]
    results = extended.root / "results"
    assert {path.stem for path in (results / "figures").glob("*.png")} == {
        "fig03a_influence_parity",
        "replay_parity",
    }
    tables = {path.stem for path in (results / "tables").glob("*.csv")}
    assert tables == {"certificate", "seeds_parity", "seeds_curves_parity", "table01_fidelity", "timings"}
    scores = read_dataset(results / "parity/influence.zarr", kind="influence").astype(float)
    total = scores.initial + (scores.kernel + scores.regularization).sum("layer") + scores.residual
    assert float(abs(total - scores.final).max()) < 1e-5
    assert pd.read_csv(results / "tables/certificate.csv").experiment.tolist() == ["parity"]
    assert extended.to_do(experiment="parity") == set()


def test_its_options_are_checked_like_all_others(extended: Project) -> None:
    config = ("scale=smoke", "experiment=parity", "overrides=data.bits=5")
    result = extended.dry_run("tables", config=config)
    assert result.returncode == 1 and "enough for 40 + 20 words" in result.stdout
