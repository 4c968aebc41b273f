"""The language model's experiment at toy size, on real text: everything is made; a change reruns what depends on it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from explaind.checkpoints import open_checkpoint
from explaind.store import read_dataset
from tests.workflow.conftest import Project

pytestmark = pytest.mark.smoke

TABLES = {"text", "reconstruction", "subsampling", "extrapolation", "findings_pretraining", "timings"} | {
    "findings_proportionality"
}


@pytest.fixture(scope="module")
def finished(project: Project) -> Project:
    """The project after `snakemake report` at scale smoke."""
    result = project.run("report", config=("scale=smoke", "experiment=eurollm"))
    assert result.returncode == 0, result.stdout[-6000:]
    return project


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results about others' checkpoints, which share text and tokens."""
    return tmp_path_factory.mktemp("elsewhere") / "results"


def _of_folder(project: Project, folder: Path) -> str:
    """Overrides that read checkpoints of a folder, with the tokenizer that they were trained with."""
    tokenizer = project.root / "results/eurollm/tokenizer.json"
    chosen = (
        "checkpoints.source=folder",
        f"checkpoints.folder={folder}",
        "data.tokenizer.kind=file",
        f"data.tokenizer.file={tokenizer}",
    )
    return f"overrides={list(chosen)}"


def test_everything_is_made(finished: Project) -> None:
    finished.check_made("eurollm")


def test_updates_add_up_and_intervals_are_the_runs_own(finished: Project) -> None:
    results = finished.root / "results"
    updates = read_dataset(results / "eurollm/updates.zarr", kind="updates")
    total = updates["score"].sum(("term", "unit")) + updates["residual"]
    np.testing.assert_allclose(total, updates["change"], rtol=1e-9)
    table = pd.read_csv(results / "tables/reconstruction.csv")
    assert table.step.tolist() == [2, 4, 6, 8] and (table.relative_error <= 1e-3).all()
    assert (pd.read_csv(results / "tables/subsampling.csv").arrival == 0).all()
    by_language = read_dataset(results / "eurollm/update_languages/step-000002.zarr", kind="update-languages")
    assert by_language["batch"].sizes == {"train_language": 3, "heldout_language": 3, "component": 5}
    np.testing.assert_allclose(
        by_language["change"],
        by_language["batch"].sum(("train_language", "component"))
        + by_language["momentum"].sum("component")
        + by_language["regularization"].sum("component")
        + by_language["residual"],
        rtol=1e-9,
    )
    # Held-out languages that are trained on, weighted by their sequences, are what the update was explained on.
    known = by_language.sel(heldout_language=["eng", "ell"])
    weights = known["sequences"] / known["sequences"].sum()
    whole = updates["score"].sel(checkpoint="step-000002", term="batch").sum("unit")
    assert float((known["batch"].sum(("train_language", "component")) * weights).sum()) == pytest.approx(
        float(whole), rel=2e-3
    )


def test_interventions_are_measured_and_judged(finished: Project) -> None:
    tables = finished.root / "results/tables"
    found = pd.read_csv(tables / "findings_proportionality.csv")
    points = pd.read_csv(tables / "proportionality.csv")
    assert set(found.experiment) == {"eurollm"} and found.verdict.notna().all()
    acts = {"reset, one update", "remove, one update", "leave out", "reset", "remove, frozen path"}
    assert set(found.intervention) == acts | {"remove, retrained"}
    assert set(found.kind) == {"component", "layer", "head", "tensor", "language"}
    assert set(found.term) == {"all", "batch", "momentum", "regularization"}
    assert (found["count"] >= 5).all() and (found.noise < 1e-6).all()
    control = points[points.intervention == "none"]
    assert len(control) == 4 and (control[control.stop - control.start > 1].measured == 0).all()
    # All layers together: what the scores of the checkpoint's update say, of the held-out sequences that were measured.
    layers = points[(points.intervention == "reset, one update") & (points.kind == "layer")]
    assert layers.groupby("window").size().tolist() == [4, 4] and (layers.predicted != 0).all()


def test_nothing_is_left_to_do(finished: Project) -> None:
    assert finished.to_do(experiment="eurollm") == set()


@pytest.mark.parametrize(
    ("override", "again"),
    [
        (
            "figure.dpi=61",
            {"fig06", "fig14", "fig15"}
            | {
                f"{name}_eurollm"
                for name in (
                    "heads",
                    "language_influence",
                    "pretraining",
                    "subsampling_figure",
                    "interventions",
                )
            },
        ),
        (
            "study.intervals.tolerance=0.02",
            {"explain_interval", "subsampling", "extrapolation", "subsampling_figure_eurollm", "timings"},
        ),
        (
            "study.proportionality.retrained_terms=[all]",
            {
                "interval_intervention",
                "proportionality",
                "findings_proportionality",
                "interventions_eurollm",
            },
        ),
        (
            "study.proportionality.resamples=41",
            {"proportionality", "findings_proportionality", "interventions_eurollm"},
        ),
    ],
)
def test_a_changed_option_reruns_what_depends_on_it(
    finished: Project, override: str, again: set[str]
) -> None:
    assert finished.to_do(override, experiment="eurollm") == again


def test_a_changed_training_keeps_the_text(finished: Project) -> None:
    planned = finished.to_do("optimizer.lr=0.001", experiment="eurollm")
    assert {"pretrain", "explain_update", "explain_languages", "explain_interval"} <= planned
    assert not {"corpus", "tokens"} & planned


def test_checkpoints_of_a_folder_take_the_same_path(
    finished: Project, elsewhere: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "others"
    shutil.copytree(finished.root / "results/eurollm/checkpoints/step-000004", folder / "step-000004")
    assert open_checkpoint(folder / "step-000004").hyperparameters.step == 4
    config = ("scale=smoke", "experiment=eurollm", f"results={elsewhere}", _of_folder(finished, folder))
    planned = finished.dry_run("tables", config=config).stdout
    tables = {name for name in TABLES if f"{elsewhere}/tables/{name}.csv" in planned}
    assert tables == TABLES - {"subsampling", "extrapolation"}
    result = finished.run(f"{elsewhere}/tables/reconstruction.csv", config=config)
    assert result.returncode == 0, result.stdout[-6000:]
    both = [
        pd.read_csv(root / "tables/reconstruction.csv").set_index("checkpoint")
        for root in (finished.root / "results", elsewhere)
    ]
    assert not (elsewhere / "eurollm/checkpoints").exists()
    assert both[1].index.tolist() == ["step-000004"]
    assert both[1].change["step-000004"] == both[0].change["step-000004"], "the same update, from other files"


def test_a_damaged_checkpoint_stops_its_job_with_a_sentence(
    finished: Project, elsewhere: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(finished.root / "results/eurollm/checkpoints/step-000004", folder / "step-000004")
    path = folder / "step-000004" / "optimizer.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    config = ("scale=smoke", "experiment=eurollm", f"results={elsewhere}", _of_folder(finished, folder))
    result = finished.run(
        f"{elsewhere}/eurollm/updates/step-000004.zarr", "--logger", "explaind", config=config
    )
    assert result.returncode != 0
    assert "Failed: explain_update eurollm step-000004" in result.stdout
    assert "optimizer.safetensors" in result.stdout and "Remedy" in result.stdout
    assert "Traceback" not in result.stdout
