"""Where the tests' Slurm is not started, and what is said then. These need no Slurm."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import site
from tests.cluster.conftest import without_cluster


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine on which nothing is in the way; the folder of its configuration."""
    monkeypatch.setattr(site.shutil, "which", lambda name: f"/usr/sbin/{name}")
    monkeypatch.setattr(site.os, "geteuid", lambda: 0)
    monkeypatch.setattr(site, "FOREIGN", (tmp_path,))
    monkeypatch.delenv("SLURM_CONF", raising=False)
    assert site.obstacle() is None
    return tmp_path


@pytest.mark.parametrize("name", ["slurm.conf", "gres.conf", "cgroup.conf"])
def test_the_configuration_of_another_cluster_is_left_alone(able: Path, name: str) -> None:
    (able / name).write_text("ClusterName=real\n")
    assert str(able / name) in (site.obstacle() or "")


def test_what_a_killed_run_left_is_no_obstacle(able: Path) -> None:
    (able / "slurm.conf").write_text(site.MARK + "ClusterName=explaind-tests\n")
    assert site.obstacle() is None


def test_another_configuration_by_name_is_refused(able: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", "/cluster/slurm.conf")
    assert "/cluster/slurm.conf" in (site.obstacle() or "")


def test_missing_programs_and_other_users_are_named(able: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.os, "geteuid", lambda: 1000)
    assert "root" in (site.obstacle() or "")
    monkeypatch.setattr(site.shutil, "which", lambda name: None if name == "slurmctld" else name)
    assert "slurmctld not found: apt-get install" in (site.obstacle() or "")


def test_a_skip_is_a_failure_where_a_cluster_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXPLAIND_REQUIRE_CLUSTER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no root"):
        without_cluster("no root")
    monkeypatch.setenv("EXPLAIND_REQUIRE_CLUSTER", "1")
    with pytest.raises(pytest.fail.Exception, match="no root"):
        without_cluster("no root")
