"""A workflow that is killed at any moment ends, after it was started again, with the results of one that was left alone.

On request, `make test-kill`: a recording is killed twice, and the whole workflow at toy size twenty times.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from explaind.config import compose
from explaind.config.declarations import stages
from explaind.config.graph import settings
from explaind.runtime.locks import hold_folder
from explaind.stages import certify, record
from explaind.store.files import write_json
from tests.workflow.conftest import Project, copy_project
from tests.workflow.kills import interrupt, kept

pytestmark = pytest.mark.kill

OVERRIDES = ("train.stop_accuracy=null", "train.max_steps=12", "train.seeds=[3]", "execution.save_every=0",
             "execution.chunk_steps=2")  # fmt: skip
SHORT = ("scale=smoke", "experiment=grokking", f"overrides={list(OVERRIDES)}")
MOMENTS = (9, 30)  # files; the choice of the seed makes five
CERTIFICATE = "results/grokking/certificate.zarr"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, bytes]:
    """What the stages write that the short form runs."""
    folder = tmp_path_factory.mktemp("alone") / "grokking"
    config = compose("grokking", "smoke", OVERRIDES)

    def seen(stage: str) -> dict[str, Any]:
        """The part of the configuration that a job of the stage sees."""
        return {**json.loads(settings(config, stages()[stage])), "execution": config["execution"]}

    write_json({"seed": 3}, folder / "chosen.json")
    own = {"trajectory": folder / "trajectory.zarr", "summary": folder / "trajectory.json"}
    record.write(seen("record"), selection=folder / "chosen.json", **own, metrics=folder / "metrics.csv")
    certify.write(seen("certify"), trajectory=own["trajectory"], output=folder / "certificate.zarr")
    (folder / "chosen.json").unlink()
    return kept(folder.parent)


@pytest.fixture(scope="module")
def resumed(project: Project) -> Project:
    """The project after two attempts that were killed, early and late in the recording, and the one that ended."""
    assert interrupt(project, (CERTIFICATE,), SHORT, MOMENTS) == len(MOMENTS)
    return project


def test_a_workflow_that_was_killed_gives_the_same_bytes(resumed: Project, alone: dict[Path, bytes]) -> None:
    results = kept(resumed.root / "results")
    del results[Path("grokking/selection.json")]
    assert set(results) == set(alone), "and leaves nothing else"
    assert [name for name in alone if results[name] != alone[name]] == []


@pytest.mark.parametrize(
    "damage",
    ["missing", "flip", "cut", "left over"],
)
def test_a_damaged_store_is_named_and_made_again_on_request(
    resumed: Project, alone: dict[Path, bytes], damage: str
) -> None:
    """The next stage that reads it says so, and says the command; a temporary file in it is no damage."""
    store = resumed.root / "results/grokking/trajectory.zarr"
    chunk = next(path for path in sorted((store / "parameters/c").rglob("*")) if path.is_file())
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    {
        "missing": chunk.unlink,
        "flip": lambda: chunk.write_bytes(content),
        "cut": lambda: (store / "manifest.json").write_text((store / "manifest.json").read_text()[:-9]),
        "left over": (store / "manifest.json.partial").touch,
    }[damage]()
    shutil.rmtree(resumed.root / CERTIFICATE)
    first = resumed.run(CERTIFICATE, config=SHORT)
    if damage != "left over":
        assert first.returncode == 1 and "results/grokking/trajectory.zarr" in first.stdout
        command = "--forcerun results/grokking/trajectory.zarr"
        assert f"In the workflow: snakemake --cores 2 {command}" in first.stdout
        again = resumed.run(CERTIFICATE, *command.split(), config=SHORT)
        assert again.returncode == 0, again.stdout[-6000:]
    results = kept(resumed.root / "results")
    assert [name for name in alone if results[name] != alone[name]] == []


def test_two_workflows_do_not_write_one_folder_of_results(resumed: Project, tmp_path: Path) -> None:
    """From two copies of the repository: Snakemake's own lock is of the folder that it is started in."""
    with hold_folder(tmp_path / "shared"):
        refused = resumed.run(CERTIFICATE.replace("results", str(tmp_path / "shared")),
                              config=(*SHORT, f"results={tmp_path / 'shared'}"))  # fmt: skip
        assert refused.returncode == 1
        assert "Another workflow writes its results to" in refused.stdout
        assert "Got: process " in refused.stdout and f"started in {Path.cwd()}" in refused.stdout
        assert {path.name for path in (tmp_path / "shared").iterdir()} == {".lock"}, "nothing was done"
    assert not list((resumed.root / ".snakemake/locks").glob("*")), "and the next start needs no --unlock"


LONG = ("scale=smoke", "experiment=[grokking,eurollm]", 'overrides=["execution.save_every=0"]')


def test_the_whole_workflow_can_be_killed_anywhere(project: Project, tmp_path: Path) -> None:
    undisturbed = copy_project(tmp_path / "undisturbed")
    result = undisturbed.run("tables", config=LONG)
    assert result.returncode == 0, result.stdout[-6000:]
    shutil.rmtree(project.root / "results", ignore_errors=True)
    shutil.rmtree(project.root / ".snakemake", ignore_errors=True)
    chance = random.Random(2)
    moments = [chance.randint(1, 40) for _ in range(20)]
    assert interrupt(project, ("tables",), LONG, moments) == 20
    expected, results = kept(undisturbed.root / "results"), kept(project.root / "results")
    assert set(results) == set(expected)
    assert [name for name in expected if results[name] != expected[name]] == []
