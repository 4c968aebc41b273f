"""What the page asks for, as functions of the opened folder and the state in its address."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from explaind.errors import QueryError
from explaind.explore.questions import Desk, Question
from explaind.explore.samples import describer
from explaind.explore.sources import Folder, Source
from explaind.explore.views import View
from explaind.explore.views.certificate import certificate
from explaind.explore.views.checkpoints import TERMS, languages, over_checkpoints, total_of_checkpoints
from explaind.explore.views.kernel import kernel
from explaind.explore.views.predictions import predictions
from explaind.explore.views.samples import samples, stored_scores
from explaind.explore.views.timeline import timeline
from explaind.explore.views.total import parts_of_answer, parts_of_store, total

__all__ = ["Page", "State", "as_csv"]

MOST = 500  # predictions that may be summed


@dataclass(frozen=True)
class State:
    """What is selected. Every field has a name of its own in the page's address.

    Attributes:
        run, other: keys of the run and of the one beside it ("": none).
        tests: numbers of the chosen predictions, rising.
        output: see `explaind.explore.questions.Question`.
        start, stop: the window of updates; stop 0 for the whole run.
        cumulative, phase: how the timeline is drawn.
        window, layer, matrix: the kernel that is shown.
        rows, columns: the part of it.
        term, language: of explained checkpoints.
    """

    run: str
    other: str = ""
    tests: tuple[int, ...] = ()
    output: str = "true"
    start: int = 0
    stop: int = 0
    cumulative: bool = True
    phase: bool = False
    window: str = ""
    layer: str = ""
    matrix: str = "kernel"
    rows: tuple[int, int] = (0, 0)
    columns: tuple[int, int] = (0, 0)
    term: str = "batch"
    language: str = ""

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> State:
        """From the fields of an address.

        Raises:
            QueryError: one of them is not what it must be.
        """
        try:
            tests = tuple(sorted({int(t) for t in fields.get("tests", "").split(",") if t}))
            output = fields.get("output", "true")
            if output not in ("true", "margin", "loss"):
                output = str(int(output))
            pairs = {
                name: tuple(int(v) for v in fields.get(name, "0,0").split(","))
                for name in ("rows", "columns")
            }
            numbers = {name: int(fields.get(name, "0")) for name in ("start", "stop")}
        except ValueError as error:
            raise QueryError("The page's address is not understood.", got=str(error)) from error
        if len(tests) > MOST or any(t < 0 for t in tests) or any(len(pair) != 2 for pair in pairs.values()):
            raise QueryError(
                "The selection is not usable.", expected=f"at most {MOST} predictions", got=f"{len(tests)}"
            )
        if fields.get("term", "batch") not in TERMS or fields.get("matrix", "kernel") not in (
            "kernel",
            "similarity",
        ):
            raise QueryError("The page's address names a view that does not exist.")
        texts = {n: fields.get(n, "") for n in ("other", "window", "layer", "language")}
        return cls(
            fields.get("run", ""), tests=tests, output=output, cumulative=fields.get("cumulative", "1") == "1",
            phase=fields.get("phase", "0") == "1", matrix=fields.get("matrix", "kernel"),
            term=fields.get("term", "batch"), **texts, **numbers, **pairs,
        )  # fmt: skip


class Page:
    """Answers the page's requests.

    Args:
        folder: what was opened.
        desk: computes what is not stored.
    """

    def __init__(self, folder: Folder, desk: Desk) -> None:
        self.folder, self.desk = folder, desk
        self._lock = threading.RLock()  # stores are read once

    def sources(self) -> dict[str, Any]:
        """What there is to look at."""
        return {
            "root": self.folder.root.name,
            "sources": [
                {"key": one.key, "kind": one.kind, "computes": one.recording is not None and one.opener is not None,
                 "windows": one.windows, "steps": self._steps(one)}
                for one in self.folder.sources.values()
            ],
            "notes": [*self.folder.notes, *(note for one in self.folder.sources.values() for note in one.notes)],
        }  # fmt: skip

    def view(self, name: str, state: State) -> View:
        """One view of the state.

        Raises:
            ExplaindError: it cannot be shown.
        """
        views = {
            "predictions": self._predictions, "timeline": self._timeline, "total": self._total, "samples": self._samples,
            "certificate": self._certificate, "kernel": self._kernel, "checkpoints": self._checkpoints,
            "languages": self._languages,
        }  # fmt: skip
        if name not in views:
            raise QueryError("There is no such view.", expected=", ".join(views), got=name[:40])
        with self._lock:
            return views[name](state, self.folder.get(state.run))

    def sample(self, state: State, role: str, positions: list[int]) -> list[dict[str, str]]:
        """How samples are shown; `role` is "test" or "train"."""
        with self._lock:
            source = self.folder.get(state.run)
            if source.recording is None:
                return [{"text": f"{role} {i}"} for i in positions]
            held = getattr(source.problem, role)
            held = getattr(held, "samples", held)
            inputs = held[0] if isinstance(held, tuple | list) else held
            describe = describer(source.data)
            return [describe(inputs, i) for i in positions]

    def question(self, kind: str, state: State) -> tuple[Source, Question]:
        """What the page asks to be computed.

        Raises:
            QueryError: no prediction is chosen, or the run's model and data are not known.
        """
        source = self.folder.get(state.run)
        if not state.tests:
            raise QueryError(
                "No prediction is chosen.", expected="at least one row of the table of predictions"
            )
        _ = source.problem
        start, stop = self._window(source, state) if kind == "samples" else (0, source.run.n_steps)
        return source, Question(kind, state.tests, state.output, start, stop)

    def _answered(self, kind: str, state: State, source: Source) -> Any:
        if not state.tests or source.recording is None or source.opener is None:
            return None
        return self.desk.answered(*self.question(kind, state))

    def _steps(self, source: Source) -> int:
        if source.recording is not None:
            return source.run.n_steps
        return int(source.phases.get("steps", 0))

    def _window(self, source: Source, state: State) -> tuple[int, int]:
        total = self._steps(source)
        start = min(max(state.start, 0), max(total - 1, 0))
        return start, (min(state.stop, total) if state.stop > start else total)

    def _predictions(self, state: State, source: Source) -> View:
        if source.kind == "scores":
            return _scores(source)
        return predictions(source)

    def _timeline(self, state: State, source: Source) -> View:
        other = self.folder.sources.get(state.other)
        answer = self._answered("timeline", state, source)
        return timeline(source, answer, cumulative=state.cumulative, other=other, by_phase=state.phase)

    def _total(self, state: State, source: Source) -> View:
        if source.kind == "checkpoints":
            parts = total_of_checkpoints(source, state.start, state.stop)
            return total(parts, state.start, state.stop or state.start + 1, 1)
        start, stop = self._window(source, state)
        answer = self._answered("timeline", state, source)
        if answer is not None:
            parts = parts_of_answer(answer, start, stop)
        elif (start, stop) == (0, self._steps(source)):
            parts = parts_of_store(source, state.tests, state.output)
        else:
            parts = None
        return total(parts, start, stop, len(state.tests))

    def _samples(self, state: State, source: Source) -> View:
        start, stop = self._window(source, state)
        answer = self._answered("samples", state, source)
        scores = None if answer is None else answer["kernel"]
        if scores is None and (start, stop) == (0, self._steps(source)) and state.tests:
            scores = stored_scores(source, state.tests, state.output)
        return samples(source, scores, describer(source.data), start, stop)

    def _certificate(self, state: State, source: Source) -> View:
        answers = {}
        for kind, name in (("timeline", "by update"), ("samples", "by training sample")):
            answer = self._answered(kind, state, source)
            if answer is not None:
                answers[name] = answer
        stored = (
            source.dataset("influence.zarr", "influence") if source.store and source.kind == "run" else None
        )
        if stored is not None:
            answers["stored influences"] = stored
        return certificate(source, answers)

    def _kernel(self, state: State, source: Source) -> View:
        window = state.window if state.window in source.windows else (source.windows or [""])[-1]
        view = kernel(source, window, state.layer, state.matrix, state.rows, state.columns)
        view.more["window"] = window
        return view

    def _checkpoints(self, state: State, source: Source) -> View:
        return over_checkpoints(source, state.term)

    def _languages(self, state: State, source: Source) -> View:
        return languages(source, state.language, state.start, state.stop)


def as_csv(view: View) -> str:
    """The rows of a view with their head."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(view.columns)
    writer.writerows(view.rows)
    return file.getvalue()


def _scores(source: Source) -> View:
    """A store of scores: its variables, sizes and attributes."""
    stored = source.read(source.store, "scores") if source.store else None
    if stored is None:
        return View("The store cannot be read.")
    rows = []
    for name, values in stored.data_vars.items():
        axes = " × ".join(f"{dim} {size}" for dim, size in values.sizes.items()) or "one number"
        if values.dtype.kind in "fiub":
            rows.append((str(name), axes, float(f"{float(values.sum()):.6g}")))
    words = f"Scores of {stored.attrs.get('run', 'a run')}, target {stored.attrs.get('target', '')}."
    return View(words, ("variable", "axes", "sum"), rows)
