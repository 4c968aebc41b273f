"""The short form of the tests on a real Slurm, for every change: a small workflow, GPUs, a job put back into the queue."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.running import Cluster, results_of
from tests.cluster.slurm import call
from tests.workflow.conftest import copy_project

pytestmark = pytest.mark.cluster


def test_two_jobs_see_a_gpu_each(cluster: Cluster) -> None:
    """They wait for each other, so both have theirs at the same time."""
    cluster.start_toys("device-a", "device-b", overrides="execution.gpu=1").finish()
    seen = {cluster.seen(name)["devices"] for name in ("device-a", "device-b")}
    assert seen == {"0", "1"}


def test_a_job_put_back_into_the_queue_runs_again(cluster: Cluster) -> None:
    run = cluster.start_toys("long-requeued")
    cluster.wait_for_attempts("long-requeued", 1)
    number = cluster.slurm.running("long").number
    call("scontrol", "requeue", number)
    cluster.slurm.start_again(number)
    cluster.wait_for_attempts("long-requeued", 2)
    assert cluster.slurm.running("long").number == number, "the same job, not another submission"
    cluster.release("long-requeued")
    run.finish()
    assert len(cluster.attempts("long-requeued")) == 2


def test_a_workflow_gives_what_it_gives_on_one_machine(cluster: Cluster, copy: Path) -> None:
    target = "results/grokking/selection.json"
    cluster.start(target).finish()
    local = copy_project(copy).run(target, cold=True)
    assert local.returncode == 0, local.stdout[-6000:]
    here = results_of(copy / "results")
    there = {
        name: data
        for name, data in results_of(cluster.project.root / "results").items()
        if "/toys/" not in name
    }
    assert {name for name in here if name.endswith("summary.json")}, "the seeds' results are compared"
    assert there == here
