"""The profiles of clusters speak of rules and experiments that exist, and leave out none that they are for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from explaind.config import experiments
from explaind.config.declarations import stages

PROFILES = Path(__file__).parents[2] / "workflow" / "profiles"
CLUSTERS = ("slurm", "kubernetes")


def _profile(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((PROFILES / name / "config.yaml").read_text()))


def _pairs(lines: list[str]) -> dict[str, str]:
    return dict(line.split("=") for line in lines)


@pytest.mark.parametrize("name", CLUSTERS)
def test_groups_are_of_rules_that_exist(name: str) -> None:
    profile = _profile(name)
    groups, sizes = _pairs(profile["groups"]), _pairs(profile["group-components"])
    assert set(groups) <= set(stages())
    assert set(profile.get("set-resources", {})) <= set(stages())
    assert set(groups.values()) <= set(sizes), "a group without a size holds one job"


@pytest.mark.parametrize("name", CLUSTERS)
def test_products_of_every_experiment_have_a_group_with_a_size(name: str) -> None:
    sizes = _pairs(_profile(name)["group-components"])
    products = {group for group in sizes if group.startswith("products")}
    assert products == {"products", *(f"products_{experiment}" for experiment in experiments())}


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_group_asks_for_one_job_at_a_time(name: str) -> None:
    """Without all three, Snakemake adds up what the jobs of a group ask for."""
    profile = _profile(name)
    assert profile["default-resources"]["in_turn"] == profile["resources"]["in_turn"] == 1
    assert profile["set-resource-scopes"]["in_turn"] == "local"
