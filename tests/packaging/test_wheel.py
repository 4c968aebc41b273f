"""The wheel holds the whole package, and works outside of the checkout it was built from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

import pytest

import explaind

ROOT = Path(__file__).parents[2]
#: What a build reads. It happens in a copy, so that nothing old is packed and nothing new is left behind.
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "explaind")


def python(*arguments: str | Path, folder: Path, path: Sequence[Path] = ()) -> str:
    """What `python <arguments>` prints in a folder, with `path` in front of the installed packages."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the environment's own setuptools, which torch needs as well: nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "source").mkdir()
    for name in SOURCES:
        here, there = ROOT / name, folder / "source" / name
        if here.is_dir():
            shutil.copytree(here, there, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(here, there)
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    python("-m", "pip", "wheel", *options, "./source", "--wheel-dir", ".", folder=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_every_file_of_the_package_is_inside(wheel: Path) -> None:
    """A folder without `__init__.py`, or a file that is not Python, would be left out in silence."""
    files = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "explaind").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    inside = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert inside == files
    assert "explaind/py.typed" in inside


def test_its_metadata_name_the_version_and_the_dependencies(wheel: Path) -> None:
    archive = ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = HeaderParser().parsestr(archive.read(name).decode())
    assert metadata["Version"] == explaind.__version__
    assert "torch>=2.13" in metadata.get_all("Requires-Dist")


def test_it_is_used_from_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    options = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    python("-m", "pip", "install", *options, "--target", installed, wheel, folder=elsewhere)
    statement = "import explaind; explaind.record, explaind.influence; print(explaind.__file__)"
    printed = python("-c", statement, folder=elsewhere, path=[installed])
    assert Path(printed.strip()).is_relative_to(installed)
    command = "from explaind.cli import main; main(['--help'])"
    assert "influence" in python("-c", command, folder=elsewhere, path=[installed])
