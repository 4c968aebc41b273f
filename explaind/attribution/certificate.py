"""The certificate of a recorded run: replay, quadrature and omitted-step errors, per step, each as a number."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from torch import nn

from explaind.attribution.answer import answer
from explaind.attribution.plan import make_plan
from explaind.attribution.problem import Problem, make_problem
from explaind.attribution.query import Query
from explaind.attribution.replay import default_tolerance
from explaind.attribution.replayed import report
from explaind.errors import QuadratureWarning
from explaind.features.functional import Forward
from explaind.features.penalty import Penalty
from explaind.features.samples import first_samples
from explaind.features.targets import Loss
from explaind.ledger import Average, rebuild
from explaind.recording.trajectory import Trajectory
from explaind.runtime.allocator import keep_memory
from explaind.runtime.progress import track


def verify(
    run: Trajectory | Path | str,
    model: nn.Module,
    loss_fn: Loss,
    *,
    train: Any,
    test: Any = None,
    steps: slice | Sequence[int] | None = None,
    tolerance: float = 1e-2,
    max_nodes: int = 81,
    replay_tolerance: float | None = None,
    forward: Forward | None = None,
    penalty: Penalty | None = None,
    average: Average | None = None,
) -> xr.Dataset:
    """Rebuild every update of the run from recomputed gradients, and measure what else an explanation would miss.

    Args:
        run, model, loss_fn, train, test, steps, tolerance, max_nodes, replay_tolerance, forward, penalty, average: as for
            `explaind.influence`; without `test` only the replay is certified.

    Returns:
        Dataset over step with `replay_error` (largest entry of û_s − u_s, parameter units), `replay_relative` (l2, relative to
        u_s), `replay_rounding` (what rounding of the stored θ allows, relative), `clip_factor`; with `test` also
        `quadrature_error` (worst |residual| over rows, output units), `nodes`, and `omitted` (largest |change| of an output
        over the updates that `steps` leaves out, as an attribute). Attribute `passed`: every update is within the replay
        tolerance plus rounding, not all are `undecided` (rounding of θ hides them), and every quadrature error is within
        `tolerance`.
    """
    keep_memory()
    samples = test if test is not None else first_samples(train, 1)  # to shape the problem with
    query = Query(keep=("step",), steps=steps, tolerance=tolerance, max_nodes=max_nodes)
    problem = make_problem(
        run,
        model,
        loss_fn,
        query,
        train=train,
        test=samples,
        forward=forward,
        penalty=penalty,
        average=average,
    )
    dataset = _replay(problem, replay_tolerance)
    dataset.attrs |= report(problem.trajectory)
    if test is None:
        return dataset
    resolved = problem.with_query(keep=("step", "test", "output"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QuadratureWarning)  # the certificate itself says it
        scores = answer(resolved, make_plan(resolved, timed=False))
    dataset["quadrature_error"], dataset["nodes"] = scores["quadrature_error"], scores["nodes"]
    if "omitted" in scores:
        dataset.attrs["omitted"] = float(np.abs(scores["omitted"]).max())
    within = bool((scores["quadrature_error"] <= tolerance).all())
    dataset.attrs |= {"quadrature_tolerance": tolerance, "passed": int(dataset.attrs["passed"] and within)}
    return dataset


def _replay(problem: Problem, tolerance: float | None) -> xr.Dataset:
    total = problem.trajectory.n_steps
    limit = default_tolerance(problem) if tolerance is None else tolerance
    rows, passed, undecided = [], True, 0
    errors = rebuild(problem.ledger, problem.batch_gradient(), 0, total)
    for error in track(errors, total=total, description="replay", unit="step"):
        passed = passed and error.passes(limit)
        undecided += not error.decides(limit)
        clip = problem.trajectory.step(error.step).clip_factor
        rows.append((error.absolute, error.relative, error.rounding, clip))
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    names = ("replay_error", "replay_relative", "replay_rounding", "clip_factor")
    return xr.Dataset(
        {column: ("step", table[:, i]) for i, column in enumerate(names)},
        coords={"step": np.arange(total)},
        attrs={
            "passed": int(passed and undecided < total),
            "tolerance": limit,
            "undecided": undecided,
        },
    )
