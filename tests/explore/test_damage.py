"""A run of which one file is damaged: the page names the file, and shows what does not rest on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from explaind.errors import QueryError
from explaind.experiments.runs import open_run
from explaind.explore.questions import Desk
from explaind.explore.requests import Page
from explaind.explore.sources import Problem, discover
from explaind.explore.state import State

JOURNAL = "trajectory.zarr/journal.jsonl"
PHASES = "phases.json"
VIEWS = ("predictions", "timeline", "total", "certificate", "kernel")


@pytest.fixture
def opened(tmp_path: Path, results: Path) -> Path:
    copied = tmp_path / "opened" / "grokking"
    shutil.copytree(results / "grokking", copied, ignore=shutil.ignore_patterns("runs"))
    return tmp_path / "opened"


def problem_of(recording: Path) -> Callable[[], Problem] | None:
    _, experiment = open_run(recording)
    return lambda: Problem(
        experiment.model, experiment.loss, experiment.train, experiment.test, experiment.groups
    )


def page_of(folder: Path, cache: Path, opener: Callable[[Path], Callable[[], Any]] = problem_of) -> Page:
    return Page(discover(folder, opener), Desk(cache))


def overwrite(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def link_elsewhere(path: Path) -> None:
    (root,) = (folder for folder in path.parents if folder.name == "opened")
    elsewhere = root.parent / f"elsewhere {path.name}"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


DAMAGE = {
    "metrics of other bytes": ("metrics.csv", overwrite(b"\xff\xfe\x00step\x80"), "the column step"),
    "metrics that are empty": ("metrics.csv", overwrite(b""), "the column step"),
    "metrics without steps": ("metrics.csv", overwrite(b"loss\n1.0\n"), "the column step"),
    "metrics with a word in a column": (
        "metrics.csv",
        lambda path: path.write_text("step,loss,test_accuracy\n0,1.0,0.5x\n"),
        "test_accuracy",
    ),
    "metrics of steps in words": ("metrics.csv", overwrite(b"step,loss\nzero,1.0\n"), "the column step"),
    "phases cut off": (PHASES, overwrite(b'{"steps": 12, "memor'), "a JSON object"),
    "phases that are a list": (PHASES, overwrite(b"[1, 2]"), "a JSON object"),
    "phases in words": (PHASES, overwrite(b'{"steps": "twelve", "memorization_step": true}'), "'twelve'"),
    "a journal of other bytes": (JOURNAL, overwrite(b"\x00\x01\x02"), "cannot be used"),
    "metrics elsewhere": ("metrics.csv", link_elsewhere, "leads out of the opened folder"),
    "phases elsewhere": (PHASES, link_elsewhere, "leads out of the opened folder"),
    "a recording elsewhere": ("trajectory.zarr", link_elsewhere, "leads out of the opened folder"),
    "a kernel elsewhere": ("windows/late.zarr", link_elsewhere, "leads out of the opened folder"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_what_is_damaged_is_named_and_the_rest_is_shown(opened: Path, tmp_path: Path, case: str) -> None:
    name, damage, said = DAMAGE[case]
    before = page_of(opened, tmp_path / "cache")
    shown = {view: before.view(view, State(run="grokking", tests=(1, 2))) for view in VIEWS}
    damage(opened / "grokking" / name)

    page = page_of(opened, tmp_path / "cache")
    for view in VIEWS:
        again = page.view(view, State(run="grokking", tests=(1, 2)))
        assert again.words  # the labels are the recording's, so without it another output is the default
        if view in ("predictions", "total") and not name.startswith("trajectory"):
            assert again.rows == shown[view].rows, view
    told = page.sources()
    assert [one["key"] for one in told["sources"]] == ["grokking"]
    notes = [note for note in told["notes"] if said in note]
    assert len(notes) == 1 and name.split("/")[0] in notes[0], told["notes"]
    assert page.sources()["notes"] == told["notes"], "nothing is said twice"


def test_a_damaged_recording_computes_nothing_and_leaves_what_is_stored(opened: Path, tmp_path: Path) -> None:
    overwrite(b"\x00")(opened / "grokking" / JOURNAL)
    page = page_of(opened, tmp_path / "cache")
    assert page.sources()["sources"][0]["computes"] is False
    with pytest.raises(QueryError, match="holds results alone"):
        page.question("timeline", State(run="grokking", tests=(1,)))


def test_a_recording_that_fails_when_it_is_opened_leaves_the_page(opened: Path, tmp_path: Path) -> None:
    """What finds model and data may not open the recording itself."""
    overwrite(b"\x00")(opened / "grokking" / JOURNAL)
    page = page_of(opened, tmp_path / "cache", lambda recording: lambda: pytest.fail("it was opened"))
    assert page.view("predictions", State(run="grokking")).rows
    assert [one["computes"] for one in page.sources()["sources"]] == [False]
    assert sum("cannot be used" in note for note in page.sources()["notes"]) == 1


def test_data_that_cannot_be_opened_leave_predictions_without_labels(opened: Path, tmp_path: Path) -> None:
    def missing() -> Problem:
        raise FileNotFoundError("data.pt")

    page = page_of(opened, tmp_path / "cache", lambda recording: missing)
    for chosen in ((), (1, 2)):
        for view in (*VIEWS, "samples"):
            assert page.view(view, State(run="grokking", tests=chosen)).words
        rows = page.view("predictions", State(run="grokking", tests=chosen)).rows
        assert rows and all(row[1] is None for row in rows)
    assert any("samples have no labels" in note and "data.pt" in note for note in page.sources()["notes"])
