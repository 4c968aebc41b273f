"""A job that is killed at chosen moments and goes on, compared with one that is left alone."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from explaind.runtime import durable
from explaind.runtime.leftovers import remove

Work = Callable[[Path], None]
"""Writes the outputs of one stage into a folder."""
FIRST = "output"


class Killed(BaseException):
    """In the place of a signal: nothing in the code catches it."""


def check_resumes(work: Work, folder: Path, monkeypatch: pytest.MonkeyPatch, *, kills: int = 2) -> None:
    """The same bytes: without a state, with a state that is kept after every piece, and killed at `kills` seeded pieces.

    Args:
        work: a stage; its first output is called `FIRST`.
        folder: an empty one.
        monkeypatch: of the test.
        kills: attempts that are killed, each after a random piece.
    """
    plain, whole, broken = (folder / name for name in ("plain", "whole", "broken"))
    for path in (plain, whole, broken):
        path.mkdir(parents=True)
    work(plain)
    total = _attempt(work, whole, monkeypatch)
    _same(plain, whole)
    assert total > 1, "there is nothing between beginning and end"
    points = random.Random(len(folder.parts) + total).sample(range(1, total), min(kills, total - 1))
    for point in points:
        with pytest.raises(Killed):
            _attempt(work, broken, monkeypatch, point)
        again = _attempt(work, broken, monkeypatch)
        assert again < total, f"killed after piece {point} of {total}: none of them is computed again"
        _same(plain, broken)
        shutil.rmtree(broken)
        broken.mkdir()


def _attempt(work: Work, folder: Path, monkeypatch: pytest.MonkeyPatch, kill: int | None = None) -> int:
    """One attempt in a folder, killed after its `kill`-th piece; how many pieces it kept."""
    for output in folder.iterdir():  # Snakemake removes the outputs of a job before each attempt
        if not output.name.startswith(".") and not output.name.endswith(".partial"):
            remove(output)
    kept, write = [0], durable.write_piece

    def counted(path: Path, content: object) -> None:
        write(path, content)
        kept[0] += 1
        if kept[0] == kill:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(durable, "write_piece", counted)
        with durable.durable(folder / FIRST, "a job", every=0):
            work(folder)
    return kept[0]


def _same(one: Path, other: Path) -> None:
    """Both folders hold the same files with the same bytes."""
    files = [{path.relative_to(each): path for path in each.rglob("*")} for each in (one, other)]
    assert set(files[0]) == set(files[1])
    for name, path in files[0].items():
        assert path.is_dir() or path.read_bytes() == files[1][name].read_bytes(), name
