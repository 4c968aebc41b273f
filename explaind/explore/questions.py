"""What is computed when it is asked for: one prediction, or the sum of some, by update and layer or by training sample.

An answer is kept as a store outside of the opened folder, under the digest of the run and the question, and not computed again.
One question is computed at a time, in a thread, with its progress; it can be cancelled between two updates.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import xarray as xr
from torch import Tensor

from explaind.attribution.fingerprint import fingerprint
from explaind.errors import ExplaindError
from explaind.explore.sources import Source
from explaind.features.masked import Masked, chosen_tests
from explaind.features.samples import Samples
from explaind.runtime.progress import watched
from explaind.store import canonical_json, read_dataset, read_manifest, write_dataset

__all__ = ["AXES", "Desk", "Question", "target_of"]

AXES = {"timeline": ("step", "layer"), "samples": ("train",)}
"""What is kept of the tensor: by update and layer over the whole run, or by training sample over a window."""
KIND = "scores"


@dataclass(frozen=True)
class Question:
    """A question to one run.

    Attributes:
        kind: of `AXES`.
        tests: numbers of the explained test samples, rising; several are summed.
        output: "true" for the output of the true class, "margin", "loss", or the number of an output.
        start, stop: the window of updates.
    """

    kind: str
    tests: tuple[int, ...]
    output: str
    start: int
    stop: int


def target_of(output: str) -> str | Callable[[Tensor, Tensor], Tensor]:
    """The explained function of a model's outputs [n, O], with a name of its own."""
    if output in ("margin", "loss"):
        return output
    if output == "true":

        def value(outputs: Tensor, targets: Tensor) -> Tensor:
            return outputs.gather(1, targets.long().reshape(-1, 1)).squeeze(1)

        value.__name__ = "output of the true class"
    else:
        number = int(output)

        def value(outputs: Tensor, targets: Tensor) -> Tensor:
            return outputs[:, number]

        value.__name__ = f"output {number}"
    return value


class Cancelled(Exception):
    """The one who asked does not want to know any more."""


class Desk:
    """Answers questions, one at a time.

    Args:
        cache: folder where answers are kept.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._busy = threading.Lock()
        self._cancel = threading.Event()
        self._state: dict[str, Any] = {"state": "idle"}
        self._known: dict[Path, xr.Dataset] = {}

    def answered(self, source: Source, question: Question) -> xr.Dataset | None:
        """The answer, if it is there."""
        path = self._path(source, question)
        if path not in self._known and path.exists():
            try:
                self._known[path] = read_dataset(path, kind=KIND)
            except ExplaindError:
                return None  # damaged or of another version: made again
        return self._known.get(path)

    def plan(self, source: Source, question: Question) -> dict[str, Any]:
        """What it would cost: seconds, algorithm, megabytes.

        Raises:
            ExplaindError: it cannot be answered.
        """
        import explaind

        plan = explaind.plan(**self._arguments(source, question))
        return {
            "seconds": plan.seconds,
            "algorithm": plan.algorithm,
            "megabytes": plan.peak_bytes / 1e6,
            "updates": plan.steps,
        }

    def ask(self, source: Source, question: Question) -> bool:
        """Begin to compute the answer; False while another one is being computed."""
        if not self._busy.acquire(blocking=False):
            return False
        self._cancel.clear()
        self._state = {
            "state": "running",
            "what": "opening",
            "done": 0,
            "total": None,
            "began": time.monotonic(),
        }
        threading.Thread(target=copy_context().run, args=(self._work, source, question), daemon=True).start()
        return True

    def cancel(self) -> None:
        """Stop after the present update."""
        self._cancel.set()

    def state(self) -> dict[str, Any]:
        """ "idle", "running" (with `what`, `done`, `total`, `seconds`), "done", "cancelled" or "failed" (with `error`)."""
        state = dict(self._state)
        if "began" in state:
            state["seconds"] = time.monotonic() - state.pop("began")
        return state

    def _work(self, source: Source, question: Question) -> None:
        import explaind

        try:
            with watched(self._progress):
                answer = explaind.influence(**self._arguments(source, question))
            path = self._path(source, question)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_dataset(answer, path, kind=KIND, overwrite=True)
            self._known[path] = answer
            self._state = {"state": "done"}
        except Cancelled:
            self._state = {"state": "cancelled"}
        except Exception as error:  # whatever it is, the page says it and stays usable
            said = str(error) if isinstance(error, ExplaindError) else f"{type(error).__name__}: {error}"
            self._state = {"state": "failed", "error": said}
        finally:
            self._busy.release()

    def _progress(self, what: str, done: int, total: int | None) -> None:
        if self._cancel.is_set():
            raise Cancelled
        self._state |= {"what": what, "done": done, "total": total}

    def _arguments(self, source: Source, question: Question) -> dict[str, Any]:
        problem = source.problem
        whole = (question.start, question.stop) == (0, source.run.n_steps)
        return {
            "run": source.run,
            "model": problem.model,
            "loss_fn": problem.loss,
            "train": problem.train,
            "penalty": problem.penalty,
            "groups": problem.groups,
            "test": chosen_tests(problem.test, question.tests),
            "keep": AXES[question.kind],
            "steps": None if whole else slice(question.start, question.stop),
            "target": target_of(question.output),
        }

    def _path(self, source: Source, question: Question) -> Path:
        assert source.recording is not None
        run = read_manifest(source.recording)  # with the checksums of all of its files
        test = chosen_tests(source.problem.test, question.tests)
        masks = (test.seed, test.only) if isinstance(test, Masked) else None
        samples = Samples(test.samples if isinstance(test, Masked) else test, "test")
        seen = fingerprint(samples.content, masks)
        asked = canonical_json({"run": run, "samples": seen, **asdict(question)})
        return self._cache / f"{hashlib.sha256(asked.encode()).hexdigest()[:32]}.zarr"
