"""What lies in the opened folder: recorded runs, stored scores, explained checkpoints. Nothing is read before it is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from explaind.errors import ExplaindError, QueryError
from explaind.explore.tables import read_curves, read_phases
from explaind.store import read_dataset, read_manifest

__all__ = ["Folder", "Source", "discover"]


@dataclass(frozen=True)
class Problem:
    """What a recorded run is explained with: model, loss, samples, named groups of parameters (None: its modules), penalty."""

    model: Any
    loss: Any
    train: Any
    test: Any
    groups: Any = None
    penalty: Any = None


KINDS = {"trajectory": "run", "scores": "scores", "influence": "run", "updates": "checkpoints"}


@dataclass
class Source:
    """One thing that can be looked at.

    Attributes:
        key: its path below the opened folder; "." for the folder itself.
        kind: "run", "scores" (a store that `explaind influence` wrote) or "checkpoints".
        folder: where its stores are.
        root: links that lead out of it are not followed.
        recording: the recorded trajectory; None where only results are left, or where it turned out to be damaged.
        store: of kinds "scores" and "checkpoints", and of runs whose influences are stored.
        notes: what could not be read, in words; grows while it is looked at.
    """

    key: str
    kind: str
    folder: Path
    root: Path
    recording: Path | None = None
    store: Path | None = None
    opener: Callable[[], Problem] | None = None
    notes: list[str] = field(default_factory=list)
    _read: dict[Path, xr.Dataset | None] = field(default_factory=dict)

    def dataset(self, name: str, kind: str) -> xr.Dataset | None:
        """A store of this source, verified whole; None, with a note, if it is missing or damaged."""
        return self.read(self.folder / name, kind)

    def read(self, path: Path, kind: str) -> xr.Dataset | None:
        """The same of any path."""
        if path not in self._read:
            self._read[path] = None
            if path.exists() and inside(path, self.root, self.notes):
                try:
                    self._read[path] = read_dataset(path, kind=kind)
                except (ExplaindError, OSError) as error:
                    self.notes.append(str(error))
        return self._read[path]

    @cached_property
    def steps(self) -> int:
        """Updates of the run; 0 where that is not known. A recording that cannot be opened is noted, and given up here."""
        if self.recording is not None:
            try:
                return int(self.run.n_steps)
            except (ExplaindError, OSError) as error:
                self.notes.append(_unusable(self.key, error))
                self.recording = None
        return int(self.phases.get("steps") or 0)

    @cached_property
    def problem(self) -> Problem:
        """Model, loss, training and test samples of a recorded run.

        Raises:
            QueryError: they are not known.
        """
        if self.recording is None or self.opener is None:
            raise QueryError(
                f"{self.key} holds results alone, so nothing new can be computed of it.",
                expected="a recorded run, with its model, loss and data",
                remedy="Open the run itself: explaind explore RUN --problem MODULE:FUNCTION.",
            )
        return self.opener()

    @cached_property
    def known(self) -> Problem | None:
        """The same for what only labels or shows samples: None where it is not known, with a note where it should be."""
        if self.recording is None or self.opener is None:
            return None
        try:
            return self.problem
        except Exception as error:  # of a function of the user's, too; what is stored can still be shown
            self.notes.append(
                f"Model and data of {self.key} cannot be opened, so samples have no labels. {error}"
            )
            return None

    @cached_property
    def run(self) -> Any:
        """The recorded trajectory."""
        from explaind.recording.trajectory import Trajectory

        assert self.recording is not None
        return Trajectory(self.recording)

    @cached_property
    def data(self) -> dict[str, Any]:
        """The options of its data, if the workflow made it."""
        return dict(self.run.config.get("data", {})) if self.recording is not None else {}

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """What was logged during training, by step; empty if nothing was."""
        path = self.folder / "metrics.csv"
        if path.is_file() and inside(path, self.root, self.notes):
            return read_curves(path, self.notes)
        return self.run.metrics().set_index("step") if self.recording is not None else pd.DataFrame()

    @cached_property
    def phases(self) -> dict[str, Any]:
        """`memorization_step`, `generalization_step` and `windows`, if the workflow located them."""
        path = self.folder / "phases.json"
        return read_phases(path, self.notes) if path.is_file() and inside(path, self.root, self.notes) else {}

    @property
    def windows(self) -> list[str]:
        """Names of windows whose kernels are stored."""
        return sorted(path.stem for path in (self.folder / "windows").glob("*.zarr"))


def inside(path: Path, root: Path, notes: list[str]) -> bool:
    """Whether a path that exists lies below `root` once its links are followed; else a note says so."""
    if path.resolve().is_relative_to(root):
        return True
    words = f"{path} leads out of the opened folder and is not followed; open what it leads to."
    if words not in notes:
        notes.append(words)
    return False


@dataclass
class Folder:
    """The opened folder.

    Attributes:
        root: its path, links resolved.
        sources: by key, in the order of the page's list.
        notes: what lies there and cannot be used, in words.
    """

    root: Path
    sources: dict[str, Source]
    notes: list[str]

    def get(self, key: str) -> Source:
        """A source by its key.

        Raises:
            QueryError: there is none; paths outside of the folder are none.
        """
        if key not in self.sources:
            raise QueryError(
                "There is no such run in the opened folder.", expected=", ".join(self.sources), got=key[:80]
            )
        source = self.sources[key]
        _ = source.steps  # before anything is asked of it, it is known whether its recording can be used
        return source


def discover(path: Path, opener: Callable[[Path], Callable[[], Problem] | None]) -> Folder:
    """What can be looked at below a path: a folder of results, one experiment's folder, a recording, or a store of scores.

    Args:
        path: what was opened. Links that lead out of it are not followed.
        opener: recording → what opens its problem; None where that is not known.

    Raises:
        QueryError: there is nothing to look at.
    """
    root = path.resolve()
    notes: list[str] = []
    sources: dict[str, Source] = {}
    found = sorted(
        _found(root, notes, opener), key=lambda one: (one.key.count("/"), one.store is None, one.key)
    )
    for one in found:  # experiments before their further runs, those with stored influences first
        sources[one.key] = one
    if not sources:
        raise QueryError(
            f"There is nothing to explore in {path}.",
            expected="results of the workflow, a recorded run, or a store that `explaind influence` wrote",
            got="; ".join(notes) or "none of these",
            remedy="Run make figures, or name another folder.",
        )
    return Folder(root, sources, notes)


def _found(
    root: Path, notes: list[str], opener: Callable[[Path], Callable[[], Problem] | None]
) -> Iterator[Source]:
    kind = _kind(root, notes) if (root / "manifest.json").is_file() else None
    if kind == "trajectory":
        yield from _run(Source(".", "run", root, root, recording=root), notes, opener)
    elif kind is not None:
        yield Source(".", KINDS[kind], root.parent, root.parent, store=root)
    else:
        folders = [root, *sorted(p for p in root.glob("*") if p.is_dir()), *sorted(root.glob("*/runs/*/*"))]
        for folder in folders:
            if folder.resolve().is_relative_to(root):
                yield from _of_folder(root, folder, notes, opener)


def _of_folder(
    root: Path, folder: Path, notes: list[str], opener: Callable[[Path], Callable[[], Problem] | None]
) -> Iterator[Source]:
    key = str(folder.relative_to(root)) or "."
    recording, influence, updates = (
        folder / name for name in ("trajectory.zarr", "influence.zarr", "updates.zarr")
    )

    def holds(store: Path, kind: str) -> bool:
        return store.is_dir() and inside(store, root, notes) and _kind(store, notes) == kind

    stored = influence if holds(influence, "influence") else None
    recorded = recording if holds(recording, "trajectory") else None
    yield from _run(Source(key, "run", folder, root, recorded, stored), notes, opener)
    if holds(updates, "updates"):
        yield Source(key, "checkpoints", folder, root, store=updates)
    if folder == root:
        for store in sorted(folder.glob("*.zarr")):
            known = store in (recording, influence, updates)
            if not known and inside(store, root, notes) and _kind(store, []) == "scores":
                yield Source(store.name, "scores", folder, root, store=store)


def _run(
    source: Source, notes: list[str], opener: Callable[[Path], Callable[[], Problem] | None]
) -> Iterator[Source]:
    """The run with what opens its problem, if it has a recording that can be used or influences that are stored."""
    if source.recording is not None:
        try:
            source.opener = opener(source.recording)
        except (ExplaindError, OSError) as error:
            notes.append(_unusable(source.key, error))
            source.recording = None
    if source.recording is not None or source.store is not None:
        yield source


def _unusable(key: str, error: Exception) -> str:
    return f"The recording of {key} cannot be used. {error}"


def _kind(store: Path, notes: list[str]) -> str | None:
    """What a store holds; None, with a note, if it is damaged or of another version, and where it is nothing that is shown."""
    try:
        kind = read_manifest(store)["kind"]
    except (ExplaindError, OSError) as error:
        notes.append(str(error))
        return None
    return kind if kind in KINDS else None
