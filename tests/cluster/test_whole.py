"""Every experiment at toy size on a real Slurm, against the same on one machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.running import Cluster, results_of
from tests.workflow.conftest import copy_project

pytestmark = pytest.mark.cluster

EVERY = ("scale=smoke",)


def test_every_table_and_store_is_that_of_one_machine(cluster: Cluster, copy: Path) -> None:
    run = cluster.start("all", config=EVERY)
    run.finish(seconds=5400)
    local = copy_project(copy).run("all", config=EVERY)
    assert local.returncode == 0, local.stdout[-6000:]
    there, here = results_of(cluster.project.root / "results"), results_of(copy / "results")
    assert set(there) == set(here)
    assert not [name for name in here if there[name] != here[name]]
    assert any(name.startswith("tables/findings") for name in here)
    submitted = run.log.read_text().count("slurm_logs/group_updates")
    assert submitted == 1, "the updates of four checkpoints share a submission"
