"""The journal (commit log) of a recording: one line per committed chunk.

Arrays are written first; a chunk exists when its line is on disk. A line carries the checksums of the chunk's values and what
is small or ragged: lengths of the micro-batches, clipping, metrics. Each line ends with its own checksum.
A line cut short by a crash has no newline and does not count.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from explaind.errors import StoreError
from explaind.recording.forward_passes import Note
from explaind.store import canonical_json, crc32c, write_atomic

OPTIONAL = ("paused", "forward", "cut", "penalty", "reset")  # not written where there is nothing to say


@dataclass(frozen=True)
class Commit:
    """One journal line: updates `start` to `stop`.

    Attributes:
        crc: checksum of the values each array received (of rows start to stop, without padding).
        blocks: first entry and number of entries of each ragged array; the padding after them is not counted.
        batches: per update, per micro-batch: [length, None | scale | "samples", does each sample have a view?].
        clip: per update, gradient norm ÷ norm after backward, and whether that ratio fits every parameter.
        metrics: per update, the logged values. A line with start == stop holds those logged after the last update.
        forward: per update, per micro-batch: the note of a forward pass that was not plain, or None. Not written where all were.
        paused: had a tensor of θ no gradient in one of the updates? Not written where none had.
        reset: per update, the tensors of θ whose optimizer state was emptied before it. Not written where there are none.
        penalty: per update, the weight of the announced penalty. Not written where it is zero.
        cut: per update, the tensors of θ whose factors are in `clip_entries`. Not written where there are none.
    """

    start: int
    stop: int
    crc: dict[str, int]
    blocks: dict[str, tuple[int, int]]
    batches: list[list[tuple[int, float | str | None, bool]]]
    clip: list[tuple[float, bool]]
    metrics: list[dict[str, float]]
    paused: bool = False
    forward: list[list[Note | None]] = field(default_factory=list)
    cut: list[list[int]] = field(default_factory=list)
    penalty: list[float] = field(default_factory=list)
    reset: list[list[int]] = field(default_factory=list)


def append(path: Path, commit: Commit) -> None:
    """Write one line and wait until it is on disk."""
    with path.open("ab") as stream:
        stream.write(_line(commit))
        stream.flush()
        os.fsync(stream.fileno())


def rewrite(path: Path, commits: list[Commit]) -> None:
    """Replace the journal atomically, for example to forget everything after a certain update."""
    write_atomic(path, b"".join(_line(commit) for commit in commits))


def read(path: Path) -> list[Commit]:
    """All committed lines, verified.

    Raises:
        StoreError: the journal is missing, a complete line does not agree with its checksum, or lines do not follow
            each other.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last newline was never committed
    except OSError as error:
        raise StoreError(f"The journal {path} cannot be read", got=str(error)) from error
    commits: list[Commit] = []
    for number, line in enumerate(lines, start=1):
        commit = _parse(path, number, line)
        if commit.start != (commits[-1].stop if commits else 0):
            raise _damaged(path, number, "a line that does not follow the one before it")
        commits.append(commit)
    return commits


def _line(commit: Commit) -> bytes:
    body = canonical_json(
        {key: value for key, value in asdict(commit).items() if key not in OPTIONAL or value}
    ).encode()
    return b'{"check":%d,"commit":%s}\n' % (_crc(body), body)


def _parse(path: Path, number: int, line: bytes) -> Commit:
    try:
        value: dict[str, Any] = json.loads(line)
        body = line[line.index(b'"commit":') + len(b'"commit":') : -1]
        intact = value["check"] == _crc(body)
        commit = Commit(**value["commit"])
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, number, f"unreadable text ({type(error).__name__})") from error
    if not intact:
        raise _damaged(path, number, "text that differs from its checksum")
    return commit


def _crc(body: bytes) -> int:
    return crc32c(np.frombuffer(body, dtype=np.uint8))


def _damaged(path: Path, number: int, got: str) -> StoreError:
    return StoreError(
        f"Line {number} of the journal {path} is damaged",
        expected="a commit that agrees with its checksum",
        got=got,
        remedy="record again, or restore the store from a copy",
    )
