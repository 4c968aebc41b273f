"""Run a case, ask its questions, and say what came of it: right, refused, or wrong and silent."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
import xarray as xr

import explaind
from explaind.errors import ExplaindError, QuadratureWarning
from tests.properties.judging import wrongness
from tests.properties.loops import Loop

TOLERANCE = 1e-6
LIMIT = {torch.float64: 1e-4, torch.float32: 2e-3}  # relative to the largest entry of the truth


@dataclass
class Outcome:
    """What one question, or the recording itself, came to.

    Attributes:
        verdict: "right", "said" (refused, warned, or stated in the numbers), "wrong" (and silent) or "crash".
        where: "record", "verify" or the question.
        words: the refusal, or the array that is wrong.
        size: of the deviation, relative to the largest entry of the truth.
    """

    verdict: str
    where: str
    words: str = ""
    size: float = 0.0

    @property
    def silent(self) -> bool:
        return self.verdict in ("wrong", "crash")


def outcomes(loop: Loop, folder: Path) -> list[Outcome]:
    """Everything that came of one run and its questions."""
    path = folder / "run.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", QuadratureWarning)
        try:
            loop.go(path)
        except (ExplaindError, UserWarning) as error:
            return [Outcome("said", "record", _words(error))]
        except AssertionError:
            raise
        except Exception as error:
            return [Outcome("crash", "record", _words(error))]
        truth = loop.truth()
        answers = [_asked(loop, truth, path, query) for query in loop.queries()]
        return [*answers, _verified(loop, path, answers)]


def _asked(loop: Loop, truth, path: Path, query: dict) -> Outcome:
    with_train = query["train"]
    options = {name: value for name, value in query.items() if name != "train"}
    where = ", ".join(f"{name}={value}" for name, value in query.items())
    given = {"train": loop.asked_train()} if with_train else {}
    loss = (loop.asked_loss(),) if with_train else ()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            found = explaind.influence(
                path, loop.asked_model(), *loss, **given, test=loop.test, **options,
                tolerance=TOLERANCE, max_nodes=27, tail_tolerance=0,
            )  # fmt: skip
        except ExplaindError as error:
            return Outcome("said", where, _words(error))
        except Exception as error:
            return Outcome("crash", where, _words(error))
    size, which = wrongness(found, truth, options, with_train=with_train, tolerance=TOLERANCE)
    if size <= LIMIT[loop.dtype]:
        return Outcome("right", where, which, size)
    if said := _says_so(found, heard, loop):
        return Outcome("said", where, said, size)
    return Outcome("wrong", where, which, size)


def _says_so(found: xr.Dataset, heard: list[warnings.WarningMessage], loop: Loop) -> str:
    """Does the answer itself say that it is off? Quadrature alone is no excuse: these models are smooth."""
    for warning in heard:
        ours = warning.category.__module__ == "explaind.errors"
        if ours and (loop.bent or not issubclass(warning.category, QuadratureWarning)):
            return _words(warning.message)
    return ""


def _verified(loop: Loop, path: Path, answers: list[Outcome]) -> Outcome:
    """A certificate that passes must be that of the whole training, whose answers are right."""
    try:
        found = explaind.verify(
            path, loop.asked_model(), loop.asked_loss(), train=loop.asked_train(), tolerance=TOLERANCE
        )
    except ExplaindError as error:
        return Outcome("said", "verify", _words(error))
    except Exception as error:
        return Outcome("crash", "verify", _words(error))
    if not found.attrs["passed"]:
        return Outcome("said", "verify", "not passed")
    run = explaind.Trajectory(path)
    updates = sum(update.rows is not None for update in loop.tape.updates)
    if run.n_steps != updates:
        return Outcome("wrong", "verify", f"passed with {run.n_steps} of {updates} updates", 1.0)
    last = dict(loop.model.named_parameters())
    missed = max(
        float((last[name].detach() - value).abs().max())
        for name, value in run.layout.unflatten(run.parameters(updates)).items()
    )
    if missed > 0:
        return Outcome("wrong", "verify", "passed with other parameters than the model's", missed)
    if any(answer.verdict == "wrong" for answer in answers):
        return Outcome("wrong", "verify", "passed although an answer is wrong")
    return Outcome("right", "verify", "passed")


def _words(error: BaseException | str) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:140]}"
