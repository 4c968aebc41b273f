"""Packages are read in memory, and what is damaged or unknown is refused by name."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from explaind.datasets import fetch
from explaind.errors import DataError
from explaind.text.archives import deb_files, tgz_files
from tests.text.made import ar, deb, tar

FILES = {
    "usr/b.page": "second, of odd length",
    "usr/a.page": "fïrst",
    "usr/c.png": b"\x00",
    "usr/d.page@": "a.page",
}

NOISE = random.Random(0).randbytes(2000)  # cannot be compressed, so what is cut off is missed


@pytest.mark.parametrize(
    ("suffix", "mode"), [(".xz", "w:xz"), (".gz", "w:gz"), (".bz2", "w:bz2"), ("", "w:")]
)
def test_the_wanted_files_of_a_deb_come_sorted_and_without_links(
    tmp_path: Path, suffix: str, mode: str
) -> None:
    package = deb(tmp_path / "made.deb", FILES, suffix, mode)
    found = deb_files(package, lambda path: path.startswith("usr/") and path.endswith(".page"))
    assert list(found.items()) == [("usr/a.page", "fïrst".encode()), ("usr/b.page", b"second, of odd length")]
    assert os.listdir(tmp_path) == ["made.deb"]


def test_a_compression_that_is_not_read_is_named(tmp_path: Path) -> None:
    package = deb(tmp_path / "made.deb", FILES, ".zst")
    with pytest.raises(DataError, match=r"made.deb are compressed in a way.*data.tar.xz.*Got: data.tar.zst"):
        deb_files(package, lambda _: True)


def _cut(raw: bytes, count: int = 20) -> bytes:
    return raw[:-count]


DAMAGES = {
    "no archive": (lambda raw: b"<html>not found</html>", "an ar archive"),
    "cut inside a member": (_cut, "bytes in its last member"),
    "cut inside a header": (lambda raw: raw[:100], "the header of a member"),
    "a size that is no number": (lambda raw: raw.replace(b"4         `\n", b"x         `\n", 1), "at byte 8"),
    "no files": (lambda raw: ar({"debian-binary": b"2.0\n"}), "a member data.tar"),
    "a damaged tree": (
        lambda raw: ar({"data.tar.xz": _cut(tar({"a": NOISE}, "w:xz"), 500)}),
        "a tree of files",
    ),
    "no tree": (lambda raw: ar({"data.tar.xz": b"something else"}), "a tree of files"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_deb_is_one_error_that_names_it(tmp_path: Path, case: str) -> None:
    damage, says = DAMAGES[case]
    package = deb(tmp_path / "made.deb", FILES)
    package.write_bytes(damage(package.read_bytes()))
    with pytest.raises(DataError, match="made.deb cannot be read") as caught:
        deb_files(package, lambda _: True)
    assert says in str(caught.value)


def test_the_files_of_a_tgz(tmp_path: Path) -> None:
    package = tmp_path / "made.tgz"
    package.write_bytes(tar({"package/b": NOISE, "package/a": "1"}, "w:gz"))
    assert tgz_files(package, lambda path: path != "package/b") == {"package/a": b"1"}
    package.write_bytes(_cut(package.read_bytes(), 500))
    with pytest.raises(DataError, match="made.tgz cannot be read"):
        tgz_files(package, lambda _: True)


# Fetching, with a command that only pretends.


class AptGet:
    """Takes the place of `subprocess.run`: writes the package into the folder it is run in, as apt-get does."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.words: list[Sequence[str]] = []

    def __call__(self, words: Sequence[str], *, check: bool, cwd: str, **_: Any) -> None:
        assert check, "a command that fails must be noticed"
        self.words.append(words)
        (Path(cwd) / "made_1.0_all.deb").write_bytes(self.content)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EXPLAIND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _held(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def test_a_debian_package_is_downloaded_once_and_then_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = AptGet(b"package")
    monkeypatch.setattr(subprocess, "run", command)
    digest = f"sha256:{hashlib.sha256(b'package').hexdigest()}"
    for _ in range(2):
        found = fetch.debian_package("made", "1.0", "made_1.0_all.deb", digest)
        assert found == cache / "made_1.0_all.deb"
        assert found.read_bytes() == b"package"
        assert _held(cache) == ["made_1.0_all.deb"]
    assert command.words == [["apt-get", "download", "made=1.0"]]


def test_a_debian_package_with_other_bytes_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", AptGet(b"other bytes"))
    with pytest.raises(DataError, match="is not the published file"):
        fetch.debian_package("made", "1.0", "made_1.0_all.deb", f"sha256:{'0' * 64}")
    assert _held(cache) == []


def test_a_package_is_written_into_its_folder_also_under_a_relative_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands run inside that folder, so a relative path to it would lead elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EXPLAIND_CACHE", "cache")

    def run(words: Sequence[str], *, cwd: str, **_: Any) -> None:
        (Path(cwd).absolute() / words[words.index("--dest") + 1] / "made.whl").write_bytes(b"wheel")

    monkeypatch.setattr(subprocess, "run", run)
    digest = f"sha256:{hashlib.sha256(b'wheel').hexdigest()}"
    assert fetch.pip_package("made==1", "made.whl", digest).read_bytes() == b"wheel"
