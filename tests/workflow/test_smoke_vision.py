"""The vision experiments at toy size, on real images: everything is made; a change reruns what depends on it."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from explaind.store import read_dataset
from tests.workflow.conftest import Project

pytestmark = pytest.mark.smoke

EXPERIMENTS = "[mnist,mnist_long,cifar2]"


@pytest.fixture(scope="module")
def finished(project: Project) -> Project:
    """The project after `snakemake figures` of the vision experiments at scale smoke."""
    result = project.run(
        "figures", "--logger", "explaind", config=("scale=smoke", f"experiment={EXPERIMENTS}")
    )
    assert result.returncode == 0, result.stdout[-6000:]
    (project.root / "said").write_text(result.stdout)
    return project


def test_everything_is_made(finished: Project) -> None:
    finished.check_made(EXPERIMENTS, report=False)


def test_what_is_said_while_it_runs(finished: Project) -> None:
    said = (finished.root / "said").read_text()
    assert re.search(r"^Expected to take .* on 2 cores", said, re.MULTILINE)
    figures = {path.name for path in (finished.root / "results/figures").glob("*.png")}
    assert {name for name in figures if f"results/figures/{name}" in said} == figures
    last = re.findall(r"(\d+) of (\d+)  ", said)[-1]
    assert last[0] == last[1], "every job is counted"
    assert "Select jobs" not in said


def test_every_run_is_certified_on_the_images_that_were_seen(finished: Project) -> None:
    table = pd.read_csv(finished.root / "results/tables/certificate.csv")
    assert table.experiment.tolist() == ["mnist", "mnist_long", "cifar2"] and table.passed.all()


def test_data_level_scores_add_up(finished: Project) -> None:
    for experiment in ("mnist", "cifar2"):
        scores = read_dataset(finished.root / f"results/{experiment}/attribution.zarr", kind="attribution")
        total = scores.kernel.astype(float).sum("train") + scores.regularization
        gap = scores.initial + total + scores.residual - scores.final
        assert float(abs(gap).max()) < 1e-4
        parts = pd.read_csv(finished.root / f"results/{experiment}/contributions.csv")
        final = parts[parts.part == "final"].set_index("test").score
        rest = parts[parts.part != "final"].groupby("test").score.sum()
        assert (final - rest).abs().max() < 1e-4


def test_scores_of_every_method_have_intervals(finished: Project) -> None:
    table = pd.read_csv(finished.root / "results/tables/lds.csv")
    assert set(table.method) == {"explaind", "trak", "tracin", "gradient_dot", "influence_function"}
    assert (table.low <= table.high).all()


def test_nothing_is_left_to_do(finished: Project) -> None:
    assert finished.to_do(experiment=EXPERIMENTS) == set()


@pytest.mark.parametrize(
    ("override", "again"),
    [
        ("study.datamodel.resamples=21", {"datamodel", "lds", "fig07", "timings"}),
        ("study.examples.top=1", {"contributions", "examples_mnist", "examples_cifar2", "timings"}),
        (
            "study.pruning.retraining=1",
            {"pruning", "pruning_methods", "findings_pruning", "fig02", "timings"},
        ),
        ("study.sparse.orders=4", {"sparse", "sparse_steps", "fig08", "timings"}),
        ("study.datamodel.projection=9", {"baseline", "datamodel", "lds", "fig07", "timings"}),
    ],
)
def test_a_changed_option_reruns_what_depends_on_it(
    finished: Project, override: str, again: set[str]
) -> None:
    assert finished.to_do(override, experiment=EXPERIMENTS) == again
