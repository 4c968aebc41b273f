"""One Slurm for all tests of this folder, and copies of the project to run on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from tests.cluster.running import Cluster, make_cluster
from tests.cluster.site import NoCluster, obstacle
from tests.cluster.slurm import Slurm


def without_cluster(reason: str) -> None:
    """Skip, and say why; where a cluster is required, fail."""
    if os.environ.get("EXPLAIND_REQUIRE_CLUSTER"):
        pytest.fail(f"EXPLAIND_REQUIRE_CLUSTER is set, and there is no Slurm here: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """Slurm with one node, two processors and two devices that pass for GPUs."""
    if reason := obstacle():
        without_cluster(reason)
    lock = FileLock("/run/explaind-test-cluster.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        without_cluster("these tests run already on this machine: wait for them to end")
    cluster = Slurm()
    with lock:
        try:
            cluster.start()
            yield cluster
        except NoCluster as error:
            without_cluster(str(error))
        finally:
            cluster.stop()


@pytest.fixture(scope="module")
def project_on_cluster(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A copy of the project that the tests of one file share."""
    return make_cluster(slurm, tmp_path_factory.mktemp("cluster"))


@pytest.fixture
def cluster(project_on_cluster: Cluster) -> Iterator[Cluster]:
    """That copy on the cluster; nothing of one test runs on into the next, whether it passed or not."""
    yield project_on_cluster
    project_on_cluster.clear()


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the same without a cluster."""
    return tmp_path_factory.mktemp("local")
