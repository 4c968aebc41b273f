"""What the page asks for: functions of the opened folder and of the state in its address."""

from __future__ import annotations

import csv
import io
import threading
from typing import Any

from explaind.errors import QueryError
from explaind.explore.questions import Desk, Question
from explaind.explore.samples import describer
from explaind.explore.sources import Folder, Source
from explaind.explore.state import State
from explaind.explore.views import View
from explaind.explore.views.certificate import certificate
from explaind.explore.views.checkpoints import languages, over_checkpoints, total_of_checkpoints
from explaind.explore.views.kernel import kernel
from explaind.explore.views.predictions import predictions
from explaind.explore.views.samples import samples, stored_scores
from explaind.explore.views.timeline import timeline
from explaind.explore.views.total import parts_of_answer, parts_of_store, total
from explaind.features.masked import Masked

__all__ = ["Page", "as_csv"]


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
                {"key": one.key, "kind": one.kind, "steps": one.steps, "windows": one.windows,
                 "computes": one.recording is not None and one.opener is not None}
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
            if source.known is None:
                return [{"text": f"{role} {i}"} for i in positions]
            held = getattr(source.known, role)
            if isinstance(held, Masked) and held.only is not None:
                positions = [held.only[i] for i in positions]
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
        start, stop = self._window(source, state) if kind == "samples" else (0, source.steps)
        return source, Question(kind, state.tests, state.output, start, stop)

    def _answered(self, kind: str, state: State, source: Source) -> Any:
        if not state.tests or source.known is None:
            return None
        return self.desk.answered(*self.question(kind, state))

    def _window(self, source: Source, state: State) -> tuple[int, int]:
        total = source.steps
        start = min(max(state.start, 0), max(total - 1, 0))
        return start, (min(state.stop, total) if state.stop > start else total)

    def _predictions(self, state: State, source: Source) -> View:
        if source.kind == "scores":
            return _scores(source)
        return predictions(source)

    def _timeline(self, state: State, source: Source) -> View:
        other = self.folder.get(state.other) if state.other in self.folder.sources else None
        answer = self._answered("timeline", state, source)
        return timeline(source, answer, cumulative=state.cumulative, other=other, by_phase=state.phase)

    def _total(self, state: State, source: Source) -> View:
        if source.kind == "checkpoints":
            return total(*total_of_checkpoints(source, state.start, state.stop))
        start, stop = self._window(source, state)
        answer = self._answered("timeline", state, source)
        parts: dict[str, float] | None = None
        if answer is not None:
            parts = parts_of_answer(answer, start, stop)
        elif (start, stop) == (0, source.steps):
            parts = parts_of_store(source, state.tests, state.output)
        count = len(state.tests)
        what = "the prediction" if count == 1 else f"the sum of {count} predictions"
        return total(parts, f"Updates {start} to {stop - 1}: {what}")

    def _samples(self, state: State, source: Source) -> View:
        start, stop = self._window(source, state)
        answer = self._answered("samples", state, source)
        scores = None if answer is None else answer["kernel"]
        if scores is None and (start, stop) == (0, source.steps) and state.tests:
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
