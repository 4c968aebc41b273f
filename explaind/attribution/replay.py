"""Every update that an answer rests on is checked before the answer is computed.

Two checks exist. With the training samples and the loss, each update is rebuilt from recomputed gradients (`gradients`). Without
them, an answer that sums over train samples rests on the observed updates alone; then the gradient that each implies must be as
long as the one the recorder saw (`norms`). What was rebuilt once is cached beside the recording
(`explaind.attribution.replay_cache`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from explaind.attribution import replay_cache
from explaind.attribution.problem import Problem
from explaind.attribution.replay_errors import Replay
from explaind.errors import LedgerError, QueryError, ReplayWarning
from explaind.ledger import (
    DECISIVE,
    Ledger,
    ReplayError,
    compare_norms,
    diagnose,
    implied_gradients,
    rebuild,
    rebuilt_updates,
)
from explaind.runtime.progress import track
from explaind.store import read_dataset

REPLAY_TOLERANCE = {"float32": 1e-3, "float64": 1e-8}
CHOICES = ("refuse", "warn")


def rests_on(problem: Problem) -> tuple[int, int]:
    """[first, stop) of the updates an answer rests on: the window, and earlier ones while their momentum weighs in it."""
    start, stop = problem.window
    first, weight = start, 1.0
    while first > 0 and stop > start:
        weight *= max(problem.ledger.coefficients(first).mu)
        if weight <= problem.query.tail_tolerance:
            break
        first -= 1
    return first, stop


def default_tolerance(problem: Problem) -> float:
    """Of the precision in which θ was recorded."""
    return REPLAY_TOLERANCE[str(problem.trajectory.layout.dtype).removeprefix("torch.")]


def check_replay(problem: Problem, tolerance: float | None = None, choice: str = "refuse") -> Problem:
    """The problem with its `replay` measured.

    Raises:
        QueryError: the choice is neither "refuse" nor "warn".
        LedgerError: an update does not follow from what was recorded, and the choice is not to go on.
    """
    if choice not in CHOICES:
        raise QueryError(
            "replay states what to do when an update cannot be rebuilt.",
            expected=" or ".join(CHOICES),
            got=repr(choice),
        )
    limit = default_tolerance(problem) if tolerance is None else tolerance
    first, stop = rests_on(problem)
    how = "gradients" if problem.gradients is not None else "norms"
    measured = _empty(problem, how, limit)
    if stop > first:
        errors = (
            _rebuilt(problem, first, stop, limit)
            if how == "gradients"
            else compare_norms(_exact(problem), first, stop)
        )
        measured = _judged(problem, measured, errors, choice)
    return replace(problem, replay=measured)


def certified(problem: Problem, certificate: Path | None) -> Problem:
    """The problem with the replay that a certificate measured for the whole run, as `explaind.verify` wrote it.

    Without a certificate, the updates that the answer rests on are checked here and now (`check_replay`).

    Raises:
        StoreError: the certificate is damaged.
        LedgerError: it did not pass, or is of a run of another length.
    """
    if certificate is None:
        return check_replay(problem)
    dataset = read_dataset(certificate, kind="certificate")
    if not dataset.attrs["passed"] or dataset.sizes["step"] != problem.trajectory.n_steps:
        raise LedgerError(
            "The certificate does not cover the recorded run.",
            expected=f"a passed one of {problem.trajectory.n_steps} updates",
            got=f"{'a passed' if dataset.attrs['passed'] else 'a failed'} one of {dataset.sizes['step']}",
            remedy="Certify the run again.",
        )
    relative, rounding = dataset["replay_relative"].values, dataset["replay_rounding"].values
    return replace(
        problem, replay=Replay("certificate", float(dataset.attrs["tolerance"]), relative, rounding)
    )


def _judged(problem: Problem, measured: Replay, errors: Iterator[ReplayError], choice: str) -> Replay:
    failed: list[int] = []
    for error in errors:
        measured.relative[error.step], measured.rounding[error.step] = error.relative, error.rounding
        if error.passes(measured.tolerance) or _only_clipped(problem, error, measured.tolerance):
            continue
        if choice == "refuse":
            raise _refusal(problem, error, measured)
        failed.append(error.step)
    checked = int(np.isfinite(measured.relative).sum())
    if measured.how == "gradients" and checked and measured.undecided == checked and choice == "refuse":
        raise LedgerError(
            "The updates are too small to be checked against the recorded batches, so nothing is attributed.",
            expected=f"updates that rounding of the stored parameters changes by less than {DECISIVE:.0%}",
            got=f"updates stored in {str(problem.trajectory.layout.dtype).removeprefix('torch.')} that it hides",
            remedy="Train in float64, or with a larger learning rate; to explain the run unchecked, leave train out.",
        )
    if failed:
        worst = max(failed, key=lambda s: measured.relative[s])
        warnings.warn(
            f"{len(failed)} updates do not follow from what was recorded (update {worst} by "
            f"{measured.relative[worst]:.3g} of its length); the answer rests on them all the same, and counts them in its "
            "attribute replay_failed.",
            ReplayWarning,
            stacklevel=4,
        )
    return replace(measured, failed=tuple(failed))


def _rebuilt(problem: Problem, first: int, stop: int, limit: float) -> Iterator[ReplayError]:
    """Rebuild what was not rebuilt before; a few updates always are."""
    known = replay_cache.load(problem)
    missing = [s for s in range(first, stop) if s not in known]
    if not missing and replay_cache.still_holds(problem, known, first, stop):
        yield from (known[s] for s in range(first, stop))
        return
    fresh: dict[int, ReplayError] = {}
    errors = rebuild(problem.ledger, problem.batch_gradient(), first, stop)
    for error in track(errors, total=stop - first, description="replay", unit="step"):
        fresh[error.step] = error
        yield error
    replay_cache.save(problem, known if set(missing) != set(range(first, stop)) else {}, fresh)


def _only_clipped(problem: Problem, error: ReplayError, limit: float) -> bool:
    """Was the gradient changed entry by entry after backward, in an answer that needs its sum only?"""
    return not problem.query.contracts and _changed_inside(problem, error, limit)


def _exact(problem: Problem) -> Ledger:
    penalty = problem.ledger.penalty_gradient
    return Ledger(problem.trajectory, torch.float64, problem.model.device, penalty)


def _empty(problem: Problem, how: str, tolerance: float) -> Replay:
    total = problem.trajectory.n_steps
    return Replay(how, tolerance, np.full(total, np.nan), np.full(total, np.nan))


def _refusal(problem: Problem, error: ReplayError, measured: Replay) -> LedgerError:
    """The refusal that names the update, the size of the difference and what it looks like."""
    expected = (
        f"a relative difference of at most {measured.tolerance:g} (rounding allows {error.rounding:.1e} more)"
    )
    if measured.how == "norms":
        return LedgerError(
            f"Update {error.step} does not follow from the gradient that the optimizer got, so nothing is attributed.",
            expected=expected,
            got=f"{error.relative:.3g} between the length of the gradient it implies and the recorded one",
            remedy="The momentum was reset, or the parameters were moved by something else: record the run again. "
            'replay="warn" answers all the same, and says so.',
        )
    reason = (
        "The gradient was changed entry by entry between backward and step (for instance clip_grad_value_), and the recording "
        "does not hold the factors: record it again."
    )
    if not _changed_inside(problem, error, measured.tolerance):
        gradient = problem.batch_gradient()
        update = next(rebuilt_updates(problem.ledger, gradient, error.step, error.step + 1))
        reason = diagnose(problem.ledger, gradient, update)
    return LedgerError(
        f"Update {error.step} cannot be rebuilt from the recorded batch, so nothing is attributed.",
        expected=expected,
        got=f"{error.relative:.3g} (largest entry {error.absolute:.3g}). {reason}",
        remedy="Pass the same loss function (with its reduction, label smoothing and class weights), model and training "
        "samples that the run used, and give Recorder.batch its weights where the loop scales the loss; augmented "
        'inputs must be passed as they were seen. replay="warn" answers all the same, and says so.',
    )


def _changed_inside(problem: Problem, error: ReplayError, limit: float) -> bool:
    """Was the gradient clipped by value, while the optimizer made of the result what it should?

    Clipped entries are the recomputed ones, cut at the largest: anything else (noise, an edited tensor) is no clipping.
    """
    if problem.trajectory.step(error.step).clip_uniform:
        return False
    (implied,) = implied_gradients(_exact(problem), error.step, error.step + 1)
    by_norm = implied.error()
    if implied.gradient is None or not by_norm.passes(limit):
        return False
    sign = problem.ledger.expand(problem.ledger.coefficients(error.step).sign)
    plain, entered = sign * problem.batch_gradient()(error.step).double(), implied.gradient
    largest = float(entered.abs().max())
    cut = plain.clamp(-largest, largest)
    return float((entered - cut).norm()) <= (10 * limit + by_norm.rounding) * float(cut.norm())
