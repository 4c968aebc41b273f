"""What happens on a cluster besides success: too little memory, interruptions, nodes that go away."""

from __future__ import annotations

import signal

import pytest

from tests.cluster.running import Cluster
from tests.cluster.site import NODE
from tests.cluster.slurm import call

pytestmark = pytest.mark.cluster


def test_a_job_killed_for_its_memory_comes_back_with_more(cluster: Cluster) -> None:
    text = cluster.start_toys("large-a").finish()
    assert cluster.attempts("large-a") == [900, 1800]
    assert cluster.seen("large-a")["memory"] == 1800
    assert "Trying to restart job" in text
    first, *_ = sorted((cluster.project.root / ".snakemake/slurm_logs/rule_large").rglob("*.log"))
    assert "exceeded memory limit" in first.read_text(), (
        "of the job that was killed; that of the other is removed"
    )


def test_jobs_of_a_group_ask_for_what_one_of_them_asks(cluster: Cluster) -> None:
    names = [f"short-{name}" for name in "abc"]
    cluster.start_toys(*names, options=("--group-components=toys=3",)).finish()
    (job,) = [one for one in cluster.slurm.jobs("all") if "toys" in one.comment]
    shown = call("scontrol", "show", "job", job.number)
    assert "NumCPUs=1 " in shown and "MinMemoryNode=1500M" in shown, shown
    assert "TimeLimit=03:00:00" in shown, "an hour each, one after another"
    assert [cluster.seen(name)["memory"] for name in names] == [1500] * 3


def test_an_interrupted_run_cancels_its_jobs_and_resumes(cluster: Cluster) -> None:
    run = cluster.start_toys("long-done", "long-waits")
    for name in ("long-done", "long-waits"):
        cluster.wait_for_attempts(name, 1)
    cluster.release("long-done")
    cluster.slurm.wait(lambda: len(cluster.slurm.jobs()) == 1, "one of two jobs to end")
    cluster.slurm.wait(lambda: "1 of 2 steps" in run.text(), "Snakemake to notice")
    run.interrupt(signal.SIGINT)
    run.finish(status=1)
    cluster.slurm.wait(lambda: not cluster.slurm.jobs(), "all jobs to end")
    cluster.release("long-waits")
    cluster.start_toys("long-done", "long-waits").finish()
    assert len(cluster.attempts("long-done")) == 1, "what was done is kept"
    assert len(cluster.attempts("long-waits")) == 2


def test_a_killed_run_is_unlocked_when_its_jobs_have_ended(cluster: Cluster) -> None:
    run = cluster.start_toys("long-killed")
    cluster.wait_for_attempts("long-killed", 1)
    run.interrupt(signal.SIGKILL)
    run.finish(status=-signal.SIGKILL)
    assert len(cluster.slurm.jobs()) == 1, "nobody cancelled it"
    assert "could not be locked" in cluster.start_toys("long-killed").finish(status=1).replace(
        "cannot", "could not"
    )
    cluster.release("long-killed")
    cluster.slurm.wait(lambda: not cluster.slurm.jobs(), "all jobs to end")
    cluster.start_toys("long-killed", options=("--unlock",)).finish()
    cluster.start_toys("long-killed").finish()
    assert cluster.seen("long-killed")["threads"] == 1


def test_a_node_that_goes_down_takes_its_job_back_when_it_returns(cluster: Cluster) -> None:
    run = cluster.start_toys("long-down")
    cluster.wait_for_attempts("long-down", 1)
    call("scontrol", "update", f"NodeName={NODE}", "State=DOWN", "Reason=test")
    cluster.slurm.wait(lambda: cluster.slurm.jobs("PENDING"), "the job to be in the queue again")
    call("scontrol", "update", f"NodeName={NODE}", "State=RESUME")
    # Slurm holds the job for two minutes. Started sooner, it can meet its own first attempt, and is held for good.
    cluster.wait_for_attempts("long-down", 2, seconds=600)
    cluster.release("long-down")
    run.finish()
    assert cluster.attempts("long-down") == [1500, 1500], "the same job, not another submission"


def test_a_drained_node_ends_its_job_and_takes_no_other_until_it_returns(cluster: Cluster) -> None:
    run = cluster.start_toys("long-drained")
    cluster.wait_for_attempts("long-drained", 1)
    call("scontrol", "update", f"NodeName={NODE}", "State=DRAIN", "Reason=test")
    cluster.release("long-drained")
    run.finish()
    assert len(cluster.attempts("long-drained")) == 1
    cluster.release("long-later")
    later = cluster.start_toys("long-later")
    cluster.slurm.wait(lambda: cluster.slurm.jobs("PENDING"), "a job that waits for the node")
    call("scontrol", "update", f"NodeName={NODE}", "State=RESUME")
    later.finish()
