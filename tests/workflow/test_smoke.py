"""The whole workflow at toy size, through Snakemake; then, on its results, what each change makes run again.

Order matters in this file: the first test makes the results, the others plan on them without running anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from explaind.store import read_dataset
from explaind.studies.explain_run import KEPT
from tests.workflow.conftest import Project

pytestmark = pytest.mark.smoke

FROM_WINDOWS = {"fig04", "fig05", "fig09", "fig12", "fig13"}
MOVED = {
    "transplant",
    "swap",
    "transplants",
    "swap_errors",
    "findings_transplant",
    "fig03b",
    "fig10",
    "fig11",
    "swap_curve",
}
FROM_OUTPUTS = {"fig04_outputs", "fig05_outputs", "fig09_outputs", "fig12_outputs", "fig13_outputs"}
FIGURES = (
    FROM_WINDOWS
    | FROM_OUTPUTS
    | {
        "fig03a_outputs",
        "frequencies_figure",
        "frequencies_runs",
        "fig03a",
        "fig03a_runs",
        "replay_grokking",
        "fig03b",
        "fig10",
        "fig11",
        "swap_curve",
        "interventions_grokking",
    }
)
SPECTRA = {"spectra", "fig12_outputs", "lasso_outputs", "findings_outputs"}
RUNS = {"explain_run", "fig03a_runs", "frequencies_runs", "findings"}
FROM_RUNS = RUNS | {"timings"}
TABLES = {
    "table01_fidelity",
    "certificate",
    "seeds",
    "lasso",
    "structure",
    "findings",
    "findings_proportionality",
    "findings_outputs",
    "frequencies_table",
    "lasso_outputs",
    "structure_outputs",
    "timings",
    "transplants",
    "swap_errors",
    "findings_transplant",
}
EVERYTHING = (
    FIGURES
    | TABLES
    | {"train", "select", "record", "phases", "certify", "influence", "accumulate", "window", "quadrature"}
    | {
        "periodicity",
        "importances",
        "outputs",
        "spectra",
        "frequencies",
        "fidelity",
        "explain_run",
        "transplant",
        "swap",
        "intervention",
        "proportionality",
    }
)
BENCHMARKED = {"train", "record", "certify", "influence", "window", "quadrature", "periodicity"} | {
    "importances",
    "outputs",
    "frequencies",
    "transplant",
    "swap",
    "intervention",
    "explain_run",
}


@pytest.fixture(scope="module")
def finished(project: Project) -> Project:
    """The project after `snakemake report` at scale smoke."""
    result = project.run("report")
    assert result.returncode == 0, result.stdout[-6000:]
    return project


def test_everything_is_made(finished: Project) -> None:
    results = finished.root / "results"
    for name in ("selection.json", "trajectory.json", "phases.json", "metrics.csv", "periodicity.csv"):
        assert (results / "grokking" / name).stat().st_size > 0
    for store in ("trajectory", "certificate", "influence", "windows/early", "windows/late", "quadrature/2"):
        assert (results / "grokking" / f"{store}.zarr").is_dir()
    finished.check_made("grokking")
    assert all(len(pd.read_csv(path)) for path in (results / "tables").glob("*.csv"))


def test_recording_changed_nothing(finished: Project) -> None:
    summary = json.loads((finished.root / "results/grokking/trajectory.json").read_text())
    assert summary["identical_to_unrecorded"] is True


def test_every_run_is_explained_as_the_chosen_one_is(finished: Project) -> None:
    """The chosen seed's own files, for the tests that both explain; each run has the bits of its seed's training."""
    results = finished.root / "results/grokking"
    chosen = json.loads((results / "selection.json").read_text())["seed"]
    run = results / "runs/addition" / str(chosen)
    whole = read_dataset(results / "influence.zarr", kind="influence").isel(test=slice(0, 10))
    ours = read_dataset(run / "influence.zarr", kind="influence")
    for name in ("initial", "final", "kernel", "regularization"):
        np.testing.assert_allclose(
            ours[name], whole[name], rtol=1e-5, atol=1e-5 * float(abs(whole[name]).max())
        )
    for seed in (0, 1):
        summary = json.loads((results / f"runs/addition/{seed}/summary.json").read_text())
        assert summary["identical_to_unrecorded"] is True
    assert {path.name for path in run.iterdir()} - {".snakemake_timestamp"} == set(KEPT), (
        "nothing large is left"
    )
    assert not list((results / "runs/addition").glob("*.*")), "nothing half-written"


def test_the_report_shows_captions(finished: Project) -> None:
    assert "Figure 3a." in (finished.root / "results/report.html").read_text()


def test_benchmarks_are_json_lines(finished: Project) -> None:
    folder = finished.root / "results/benchmarks/grokking"
    files = sorted(folder.rglob("*.jsonl"))
    assert {file.relative_to(folder).with_suffix("").parts[0] for file in files} == BENCHMARKED
    for file in files:
        (line,) = file.read_text().splitlines()
        assert {"s", "cpu_time", "max_rss"} <= set(json.loads(line)), file


def test_nothing_is_left_to_do(finished: Project) -> None:
    assert finished.to_do() == set()


@pytest.mark.parametrize(
    ("override", "again"),
    [
        ("figure.regularization_stride=12", {"fig03a"}),
        ("figure.dpi=70", FIGURES),
        ("study.periodicity.alpha=0.01", {"periodicity", "fig12", "lasso"} | FROM_RUNS | SPECTRA),
        (
            "influence.tolerance=0.02",
            {"influence", "accumulate", "fig03a", "fidelity", "table01_fidelity"} | FROM_RUNS,
        ),
        ("verify.tolerance=0.002", EVERYTHING - {"train", "select", "record", "phases", "seeds"} - MOVED
         - RUNS - {"frequencies", "frequencies_table", "frequencies_figure"}),
        ("study.transplant.settle=7", {"transplant", "transplants", "fig03b", "fig11", "findings_transplant", "timings"}),
        ("study.swap.seed=7", {"swap", "swap_errors", "fig10", "swap_curve", "findings_transplant", "timings"}),
        ("study.proportionality.resamples=41", {"proportionality", "findings_proportionality", "interventions_grokking"}),
        (
            "study.kernel.tail_tolerance=1e-7",
            {"window", "structure", "periodicity", "lasso"} | FROM_RUNS | FROM_WINDOWS | SPECTRA,
        ),
        ("study.windows.width=5", EVERYTHING - {"train", "select", "record", "certify", "influence", "accumulate"}
         - {"quadrature", "importances", "frequencies", "frequencies_table"}
         - {"seeds", "certificate", "fidelity", "table01_fidelity", "replay_grokking"}),
        ("select.fallback=refuse", EVERYTHING - {"train"} - RUNS),
        ("study.outputs.stride=9", {"importances", "fig03a_outputs", "findings_outputs", "timings"}),
        ("study.outputs.width=2", {"outputs", "spectra", "structure_outputs", "lasso_outputs", "findings_outputs", "timings"}
         | FROM_OUTPUTS),
        ("study.frequencies.stride=9",
         {"frequencies", "frequencies_table", "frequencies_figure", "findings_outputs"} | FROM_RUNS),
        ("model.hidden=20", EVERYTHING),
        ("execution.chunk_steps=8", set()),
    ],
)  # fmt: skip
def test_a_changed_option_reruns_what_depends_on_it(
    finished: Project, override: str, again: set[str]
) -> None:
    assert finished.to_do(override) == again


def test_one_more_seed_trains_that_seed_alone(finished: Project) -> None:
    assert finished.planned("figures", "train.seeds=[0,1,2]")["train"] == 1


def test_a_baseline_reruns_alone(finished: Project) -> None:
    assert finished.planned("tables", "study.quadrature.tests=[30,9]")["quadrature"] == 1


Edit = Callable[[str, str, str], None]


def test_editing_a_module_reruns_its_stage(finished: Project, edit: Edit) -> None:
    edit(
        "explaind/attribution/accumulate.py",
        "from __future__ import annotations",
        "from __future__ import annotations\nX = 1",
    )
    again = {"accumulate", "fig03a", "fidelity", "table01_fidelity"} | FROM_RUNS
    assert finished.to_do() == again - {"timings"}


def test_editing_an_inner_module_reruns_every_stage_that_imports_it(finished: Project, edit: Edit) -> None:
    edit(
        "explaind/figures/style.py",
        "from __future__ import annotations",
        "from __future__ import annotations\nX = 1",
    )
    assert finished.to_do() == FIGURES


def test_editing_the_model_reruns_everything(finished: Project, edit: Edit) -> None:
    model = "explaind/experiments/grokking/model.py"
    edit(model, "from __future__ import annotations", "from __future__ import annotations\nX = 1")
    assert "train" in finished.to_do()


def test_rewording_a_comment_reruns_nothing(finished: Project, edit: Edit) -> None:
    future = "from __future__ import annotations"
    edit("explaind/attribution/accumulate.py", future, f"# A comment.\n{future}")
    edit("explaind/errors.py", future, f"{future}\nX = 1")
    assert finished.to_do() == set()


def test_a_seed_that_fails_the_rule_is_refused_in_a_sentence(finished: Project) -> None:
    """Last in the file: it runs a job, which removes the selection it cannot make."""
    result = finished.run(
        "results/grokking/selection.json",
        config=("scale=smoke", "overrides=select.fallback=refuse"),
        cold=True,
    )
    assert result.returncode == 1
    assert "No seed reached the stopping rule" in result.stdout
    log = (finished.root / "results/logs/grokking/select.log").read_text()
    assert log.startswith("No seed reached the stopping rule")
    assert "Traceback" not in log
