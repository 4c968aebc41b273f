"""Views whose stores are small enough to be written here."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from explaind.explore.questions import Desk, Question
from explaind.explore.requests import Page, as_csv
from explaind.explore.sources import Folder, Problem, Source, discover
from explaind.explore.state import State
from explaind.explore.views.checkpoints import languages, over_checkpoints, total_of_checkpoints
from explaind.explore.views.timeline import aligned, timeline
from explaind.explore.views.total import total
from explaind.store import write_dataset
from tests.attribution.tiny import record_run

STEPS = [16, 32, 48]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Three explained checkpoints of a language model, and influences between languages at two of them."""
    generator = np.random.default_rng(0)
    score = generator.normal(size=(3, 3, 4))
    updates = xr.Dataset(
        {
            "score": (("checkpoint", "term", "unit"), score),
            "before": (("checkpoint", "heldout"), generator.normal(5, 1, (3, 2))),
            "residual": ("checkpoint", [1e-5, -2e-5, 3e-5]),
            "step": ("checkpoint", STEPS),
        },
        coords={
            "checkpoint": ["a", "b", "c"],
            "term": ["batch", "momentum", "regularization"],
            "component": ("unit", ["attention", "MLP", "attention", "MLP"]),
        },
    )
    write_dataset(updates, tmp_path / "llm" / "updates.zarr", kind="updates")
    for step, sign in ((16, 1.0), (48, -3.0)):
        between = xr.Dataset(
            {
                "batch": (
                    ("train_language", "heldout_language", "component"),
                    sign * np.arange(8.0).reshape(2, 2, 2),
                ),
                "per_batch": ("train_language", [2, 4]),
            },
            coords={"train_language": ["de", "fi"], "heldout_language": ["de", "et"]},
            attrs={"step": step},
        )
        path = tmp_path / "llm" / "update_languages" / f"step-{step:06d}.zarr"
        write_dataset(between, path, kind="update-languages")
    folder = discover(tmp_path, lambda recording: None)
    assert list(folder.sources) == ["llm"] and folder.sources["llm"].kind == "checkpoints"
    return folder.sources["llm"]


def test_checkpoints_by_component(source: Source) -> None:
    view = over_checkpoints(source, "momentum")
    stored = source.read(source.store, "updates")["score"].sel(term="momentum")
    columns = dict(zip(view.columns, zip(*view.rows, strict=True), strict=True))
    assert list(columns["step"]) == STEPS
    np.testing.assert_allclose(columns["attention"], stored.isel(unit=[0, 2]).sum("unit"), rtol=1e-4)


@pytest.mark.parametrize(("window", "some"), [((0, 0), [0, 1, 2]), ((20, 40), [1]), ((30, 49), [1, 2])])
def test_the_loss_adds_up_over_chosen_checkpoints(
    source: Source, window: tuple[int, int], some: list[int]
) -> None:
    stored = source.read(source.store, "updates").isel(checkpoint=some)
    parts, what = total_of_checkpoints(source, *window)
    assert f"{len(some)} of 3 checkpoints" in what
    assert parts["before"] == pytest.approx(float(stored["before"].mean()))
    assert parts["batch"] == pytest.approx(float(stored["score"].sel(term="batch").sum("unit").mean()))
    assert sum(v for k, v in parts.items() if k != "after") == pytest.approx(parts["after"])
    assert total(parts, what).rows == list(parts.items())


def test_which_language_helps(source: Source) -> None:
    both, first = languages(source, "et", 0, 0), languages(source, "et", 0, 20)
    per_sequence = {"de": (2 + 3) / 2, "fi": (6 + 7) / 4}
    assert dict(first.rows) == pytest.approx(per_sequence)
    assert dict(both.rows) == pytest.approx({name: -value for name, value in per_sequence.items()})
    assert both.rows[0][0] == "fi" and both.words.startswith("et is helped most by fi, de")
    assert as_csv(first).splitlines()[0] == "train_language,et"


def test_phases_of_two_runs_are_laid_on_each_other(tmp_path: Path) -> None:
    one, two = (Source(name, "run", tmp_path, tmp_path) for name in "ab")
    one.phases = {"steps": 100, "memorization_step": 20, "generalization_step": 80}
    two.phases = {"steps": 50, "memorization_step": 20, "generalization_step": 30}
    np.testing.assert_allclose(aligned(one, two)(np.array([0, 10, 20, 25, 30, 50])), [0, 10, 20, 50, 80, 100])
    two.phases = {}
    assert aligned(one, two)(7) == 7, "nothing is stretched where a run has no phases"


def test_a_run_without_results_shows_what_was_logged(tmp_path: Path) -> None:
    run = record_run(
        tmp_path / "run.zarr", lambda model: torch.optim.SGD(model.parameters(), lr=0.1), steps=3
    )
    problem = Problem(run.model, run.loss, run.train, run.test)
    source = discover(run.path, lambda recording: lambda: problem).get(".")
    assert "Nothing is stored" in timeline(source, None, cumulative=True).words
    page = Page(Folder(run.path, {".": source}, []), Desk(tmp_path / "cache"))
    state = State.read({"run": ".", "tests": "1"})
    assert [row[1] for row in page.view("predictions", state).rows] == run.test[1].tolist()
    assert page.desk.ask(*page.question("timeline", state))
    while page.desk.state()["state"] == "running":
        time.sleep(0.01)
    assert page.desk.state() == {"state": "done"}
    parts = dict(page.view("total", state).rows)
    with torch.no_grad():
        final = run.model(run.test[0][[1]])[0, run.test[1][1]]
    assert parts["final"] == pytest.approx(float(final), abs=1e-6)
    assert page.view("timeline", state).columns == ("step", "first", "second", "regularization")


def test_a_question_that_fails_is_said_and_the_next_one_answered(tmp_path: Path) -> None:
    run = record_run(
        tmp_path / "run.zarr", lambda model: torch.optim.SGD(model.parameters(), lr=0.1), steps=3
    )
    wrong = Problem(run.model, lambda outputs, targets: 2 * run.loss(outputs, targets), run.train, run.test)
    source = discover(run.path, lambda recording: lambda: wrong).get(".")
    desk = Desk(tmp_path / "cache")
    question = Question("samples", (0,), "margin", 0, 3)
    assert desk.ask(source, question)
    while desk.state()["state"] == "running":
        time.sleep(0.01)
    assert desk.state()["state"] == "failed" and "cannot be rebuilt" in desk.state()["error"]
    source.problem = Problem(run.model, run.loss, run.train, run.test)
    assert desk.ask(source, question)
    desk.cancel()
    while desk.state()["state"] == "running":
        time.sleep(0.01)
    assert desk.state()["state"] in ("cancelled", "done")
