"""What an unfinished job has done, kept on disk, so that a job that was killed goes on from there.

Within `durable(output, identity)` a job has a state: the folder `.<output>.resume` beside its output, which is removed when
the job ends well. Long loops open a `section` of it, go on from what `load()` gives, and `offer` what would let them go on from
here; `each` does this for a loop over independent pieces. An offer is taken when enough time has passed since the last one
that was, so a short job writes nothing. Outside of a job all of this does nothing.

A state belongs to one identity: a digest of the configuration, the code and the inputs. Another one's is discarded, and so is a
file that its checksum contradicts; both are said on standard output, which is the job's log. What goes on is bit by bit what
would have gone on anyway, on the same machine with the same number of threads.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from explaind.errors import StoreError
from explaind.runtime.leftovers import remove, unfinished
from explaind.store.manifest import write_atomic
from explaind.store.pieces import read_piece, write_piece

__all__ = ["Section", "durable", "each", "once", "scope", "section", "workspace"]

SHARE = 0.02  # of a job's time, at most, goes into keeping its state
SOME = 0.1  # of the time between two saves: a section that ends keeps what took longer

Item, Result = TypeVar("Item"), TypeVar("Result")


class _Job:
    """The state of one job: its folder, and the time that went into it."""

    def __init__(self, output: Path, identity: str, every: float) -> None:
        self.folder = output.with_name(f".{output.name}.resume")
        self.output, self.every, self.prefix = output, every, ""
        self.count: Counter[str] = Counter()
        self.begun, self.spent, self.broken = time.monotonic(), 0.0, False
        own = {"identity": identity}
        mark, left = self.folder / "job.json", unfinished(output)
        if left and not (mark.is_file() and _read_mark(mark) == own):
            print(
                f"Of {output}, the state of other inputs, code or options is discarded; the job starts over."
            )
            for path in left:
                remove(path)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(mark, json.dumps(own).encode())

    def empty(self) -> bool:
        """Is there nothing to go on from?"""
        return unfinished(self.output) == [self.folder] and [p.name for p in self.folder.iterdir()] == [
            "job.json"
        ]


class Section:
    """One long loop's part of the state, or of none outside of a job."""

    def __init__(self, job: _Job | None, name: str) -> None:
        self._job, self._name, self._last = job, name, time.monotonic()

    @property
    def _path(self) -> Path:
        return self._job.folder / f"{self._name}.npz"

    def load(self) -> Any | None:
        """What was kept last; None if there is nothing, or it is damaged."""
        if self._job is None or not self._path.is_file():
            return None
        try:
            content = read_piece(self._path)
        except StoreError as error:
            print(f"{error} The job starts this part over.")
            self._path.unlink()
            return None
        print(f"Going on from {self._path}.")
        return content

    def offer(self, content: Callable[[], Any]) -> None:
        """Keep `content()` in the place of what was kept, if it is time."""
        job = self._job
        if job is None:
            return
        now = time.monotonic()
        affordable = job.spent <= SHARE * (now - job.begun)
        if not job.every or (affordable and now - self._last >= job.every):
            self._save(content())

    def close(self, content: Callable[[], Any]) -> None:
        """The loop has ended: keep its result for the rest of the job, if it took some time."""
        if self._job is not None and time.monotonic() - self._last >= SOME * self._job.every:
            self._save(content())

    def _save(self, content: Any) -> None:
        job, begin = self._job, time.monotonic()
        if job.broken:
            return
        try:
            write_piece(self._path, content)
        except OSError as error:  # the job can do without; its output will tell if the disk is full
            job.broken = True
            print(f"The state of the job cannot be kept any more: {error}.")
        self._last = time.monotonic()
        job.spent += self._last - begin


_present: _Job | None = None


@contextmanager
def durable(output: Path, identity: str, *, every: float) -> Iterator[None]:
    """A job with a state.

    Args:
        output: the job's output; nobody else works on it. Its state lies beside it.
        identity: digest of what the output depends on.
        every: seconds of work between two saves; 0: every offer is taken.
    """
    global _present
    before, _present = _present, _Job(Path(output), identity, every)
    try:
        yield
    except BaseException:
        if _present.empty():
            remove(_present.folder)
        raise
    else:
        for path in unfinished(_present.output):
            remove(path)
    finally:
        _present = before


def section(name: str) -> Section:
    """The next part of the job's state with this name: parts are told apart by their order, the same in every attempt."""
    job = _present
    if job is None:
        return Section(None, name)
    full = f"{job.prefix}{name}"
    job.count[full] += 1
    return Section(job, f"{full}-{job.count[full]}")


@contextmanager
def scope(name: str) -> Iterator[None]:
    """Sections inside are named below `name`: for a piece of work that is left out once it is done."""
    if _present is None:
        yield
        return
    before, _present.prefix = _present.prefix, f"{_present.prefix}{name}."
    try:
        yield
    finally:
        _present.prefix = before


def each(
    name: str, items: Iterable[Item], compute: Callable[[Item], Result], state: Any = None
) -> Iterator[Result]:
    """compute(item) of all items, in order; those that an earlier attempt had are not computed again.

    Args:
        name: of the section.
        items: the same in every attempt.
        compute: does not depend on the items before, unless through `state`; its results can be kept (see `write_piece`).
        state: has `state()` and `restore(…)`: what one item leaves to the next, such as a generator of random numbers.
    """
    kept = section(name)
    content = kept.load() or {"results": [], "state": None}
    results: list[Result] = content["results"]
    known = len(results)
    if known and state is not None:
        state.restore(content["state"])

    def present() -> dict[str, Any]:
        return {"results": results, "state": None if state is None else state.state()}

    for number, item in enumerate(items):
        if number >= known:
            with scope(f"{name}-{number}"):
                results.append(compute(item))
            kept.offer(present)
        yield results[number]
    kept.close(present)


def once(name: str, outputs: Sequence[Path], work: Callable[[], None]) -> None:
    """Work that writes files of its own, each completely or not at all; left out where an earlier attempt wrote all of them."""
    if _present is not None:
        if all(path.exists() for path in outputs):
            return
        for path in outputs:
            remove(path)
    with scope(name):
        work()
        if _present is not None:
            for path in _present.folder.glob(f"{_present.prefix}*.npz"):
                path.unlink()


@contextmanager
def workspace(output: Path) -> Iterator[Path]:
    """A folder beside `output` for work in between: a job's own is there again in the next attempt, any other is temporary."""
    output.parent.mkdir(parents=True, exist_ok=True)
    if _present is None:
        with TemporaryDirectory(dir=output.parent, prefix=f"{output.name}.") as folder:
            yield Path(folder)
        return
    folder = _present.folder / f"{_present.prefix}work"
    folder.mkdir(exist_ok=True)
    yield folder


def _read_mark(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        return None
