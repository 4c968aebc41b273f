"""One environment, written down three times: pyproject.toml, constraints.txt and environment.yml agree."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

#: Names that conda-forge and bioconda give to packages of the index.
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base", "snakemake": "snakemake-minimal"}


def _needed() -> list[Requirement]:
    return [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]]


def _pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"==[^,*]+", str(pin.specifier)) for pin in pins), "every constraint is exact"
    return {canonicalize_name(pin.name): Version(str(pin.specifier).removeprefix("==")) for pin in pins}


def test_every_dependency_has_a_pin_that_its_bound_allows() -> None:
    pins = _pins()
    for requirement in _needed():
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_conda_environment_has_the_same_bounds() -> None:
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (from_pip,) = (entry["pip"] for entry in listed if isinstance(entry, dict))
    environment = {entry for entry in listed if isinstance(entry, str)} | set(from_pip)
    expected = {f"{CONDA.get(one.name, one.name)}{one.specifier}" for one in _needed()}
    assert environment - {"pip"} == expected | {f"python{PROJECT['requires-python']}"}


def test_pins_cover_everything_the_dependencies_need() -> None:
    """Walks the installed packages' own requirements: what is not pinned could change under the results."""
    pins, pending, seen = _pins(), [one.name for one in _needed()], set()
    base = {**default_environment(), "extra": ""}
    while pending:
        name = canonicalize_name(pending.pop())
        # The build and GPU parts of torch's own wheel differ from machine to machine.
        if name in seen or name in ("setuptools", "triton") or name.startswith(("nvidia-", "cuda-")):
            continue
        seen.add(name)
        try:
            needs = requires(name) or []
        except PackageNotFoundError:
            pytest.fail(f"{name} is not installed")
        assert name in pins, f"{name} has no pin in constraints.txt"
        parsed = [Requirement(line) for line in needs]
        pending += [one.name for one in parsed if one.marker is None or one.marker.evaluate(base)]


def test_installed_versions_are_the_pinned_ones() -> None:
    """Also in a conda environment this only warns a reader: results were made with the pinned versions."""
    pins = _pins()
    different = {
        one.name: version(one.name)
        for one in _needed()
        if Version(version(one.name)).public != pins[canonicalize_name(one.name)].public
    }
    if different:
        pytest.skip(f"not the pinned environment: {different}")
