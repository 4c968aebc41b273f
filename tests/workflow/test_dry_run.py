"""What a dry run plans, refuses, and does without."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workflow.conftest import Project, counts

#: A module that Python imports at start-up: from then on importing torch fails.
BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("torch was imported")

sys.meta_path.insert(0, Blocker())
"""


def test_default_plan(project: Project) -> None:
    planned = project.planned("all", scale="default")
    assert planned["train"] == 2, "seeds that are tried for the explained run"
    assert planned["explain_run"] == 3 * 5, "settings and seeds"
    assert planned["influence"] == 8
    assert planned["window"] == planned["outputs"] == 4
    assert planned["importances"] == planned["spectra"] == planned["frequencies"] == 1
    assert planned["intervention"] == 2 and planned["proportionality"] == 1
    assert planned["quadrature"] == 2
    assert planned["transplant"] == 1 + 1 + 2 + 4 + 2 + 1, "checkpoints of each combination of layers"
    assert planned["swap"] == planned["fig03b"] == planned["findings_transplant"] == planned["report"] == 1


def test_default_plan_of_all_experiments(project: Project) -> None:
    planned = project.planned("all", scale="default", experiment=None)
    assert planned["data"] == 3 and planned["record"] == planned["certify"] == 4
    assert planned["retrain"] == 5 * 2 + 2 + 3 + 8, "five fractions, leave-one-out, the longer run, CIFAR-2"
    assert planned["train"] == 2, "only grokking has a rule to choose a seed by"
    assert planned["pruning"] == 5 and planned["pruning_methods"] == planned["fig02"] == 1, "MNIST's splits"
    assert planned["intervention"] == 2 + 5 and planned["findings_proportionality"] == 1
    assert planned["table01_fidelity"] == planned["lds"] == planned["fig07"] == planned["fig08"] == 1


def test_a_large_network_is_pruned_at_the_papers_size_alone(project: Project) -> None:
    assert "pruning" not in project.planned("all", scale="default", experiment="cifar2")
    assert project.planned("all", scale="paper", experiment="cifar2")["pruning"] == 5


def test_the_language_model_explains_every_checkpoint(project: Project) -> None:
    planned = project.planned("all", scale="default", experiment="eurollm")
    jobs = [planned[f"explain_{kind}"] for kind in ("update", "languages", "interval")]
    assert jobs == [37, 10, 5]
    assert planned["update_intervention"] == 1 and planned["interval_intervention"] == 2
    assert (
        planned["proportionality"] == planned["interventions_eurollm"] == 1 and "intervention" not in planned
    )
    assert planned["pretrain"] == planned["fig06"] == planned["fig14"] == planned["fig15"] == 1


def test_published_checkpoints_need_no_training(project: Project) -> None:
    planned = project.planned("all", "checkpoints.revisions=[a,b,c]", scale="paper", experiment="eurollm")
    assert planned["explain_update"] == 3 and not {
        "pretrain",
        "explain_interval",
        "interval_intervention",
        "pretraining_eurollm",
    } & set(planned)
    assert planned["update_intervention"] == planned["proportionality"] == 1


def test_one_experiment_of_two_alone(project: Project) -> None:
    planned = project.planned("all", scale="smoke", experiment="mnist")
    assert planned["fig07"] == planned["lds"] == 1 and "fig08" not in planned


def test_an_override_reaches_the_experiments_that_have_the_option(project: Project) -> None:
    planned = project.planned("all", "study.sparse.orders=4", "train.seed=3", experiment="[mnist,mnist_long]")
    assert planned["sparse"] == 1


def test_one_seed_plans_one_training(project: Project) -> None:
    assert project.planned("figures", "train.seed=7")["train"] == 1


def test_overrides_as_an_unquoted_string(project: Project) -> None:
    result = project.dry_run("figures", config=("experiment=grokking", "overrides=train.seed=7"))
    assert result.returncode == 0, result.stdout
    assert "seeds/7/" in result.stdout


def test_results_go_where_they_are_told(project: Project) -> None:
    result = project.dry_run("figures", config=("results=elsewhere", "scale=smoke", "experiment=grokking"))
    assert "output: elsewhere/figures/fig12_lasso.pdf" in result.stdout
    assert "results/figures" not in result.stdout


def test_planning_never_imports_torch(project: Project, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    path = {"PYTHONPATH": f"{tmp_path}:{project.root}"}
    alone = project.run("all", "-n", environment=path, cold=True)
    assert counts(alone) == project.planned("all"), "as in the process of all dry runs, after others"
    # The blocker itself works: the first job of all fails on it.
    blocked = project.run("results/grokking/seeds/0/summary.json", environment=path, cold=True)
    assert blocked.returncode != 0
    assert "torch was imported" in blocked.stdout


def test_the_plan_runs_nothing_and_needs_no_torch(project: Project, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    path = {"PYTHONPATH": f"{tmp_path}:{project.root}"}
    results = tmp_path / "results"
    chosen = ("scale=smoke", "experiment=grokking", f"results={results}")
    result = project.run("plan", config=chosen, environment=path, cold=True)
    assert result.returncode == 0, result.stdout
    count = sum(project.planned("figures").values()) - 1
    assert f"{count} of {count} jobs are left to do." in result.stdout, "as many as a dry run plans"
    assert "Expected wall time on 2 cores:" in result.stdout and "critical path" in result.stdout
    assert not results.exists(), "it needs no lock of the results either"


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (
            ("experiment=grok",),
            "There is no experiment called 'grok'. Expected: one of cifar2, eurollm, grokking, mnist, mnist_long.",
        ),
        (("scale=tiny",), "There is no scale called 'tiny'. Expected: one of default, paper, smoke."),
        (("seed=7",), "The workflow has no setting called 'seed'."),
        (
            ("scale=smoke", "overrides=train.sead=7"),
            "There is no option 'train.sead'. Expected: one of train.seed",
        ),
        (("overrides=influence.tolerance=-1",), "'influence.tolerance' has a value that is not allowed."),
        (("overrides=['data.train=9000']",), "at most 6441 disjoint samples"),
    ],
)
def test_bad_requests_are_refused_in_a_sentence(project: Project, config: tuple[str, ...], says: str) -> None:
    result = project.dry_run("figures", config=config)
    assert result.returncode == 1
    assert says in result.stdout
    assert "Remedy:" in result.stdout
    assert "Traceback" not in result.stdout
