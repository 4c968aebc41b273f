"""One environment, written down three times: pyproject.toml, constraints.txt and environment.yml agree."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distributions, requires
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
    groups = PROJECT["optional-dependencies"]
    return [Requirement(line) for line in PROJECT["dependencies"] + groups["test"] + groups["cluster"]]


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


@pytest.mark.skipif((Path(sys.prefix) / "conda-meta").is_dir(), reason="conda has builds of its own")
def test_installed_versions_are_the_pinned_ones() -> None:
    """Results were made with the pinned versions; `make` installs these and no others."""
    pins = _pins()
    installed = {canonicalize_name(one.metadata["Name"]): Version(one.version) for one in distributions()}
    different = {
        name: f"{installed[name]}, not {pin}"
        for name, pin in pins.items()
        if name in installed and installed[name].public != pin.public
    }
    assert not different, "install them again: pip install -c constraints.txt -e '.[test,cluster]'"
