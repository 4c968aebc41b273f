"""The public functions `explaind.influence` and `explaind.plan`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import xarray as xr
from torch import nn

from explaind.attribution.answer import answer
from explaind.attribution.plan import Plan, make_plan
from explaind.attribution.problem import make_problem
from explaind.attribution.query import Query
from explaind.attribution.replay import check_replay
from explaind.attribution.replayed import report
from explaind.features.functional import Forward
from explaind.features.groups import Groups
from explaind.features.penalty import Penalty
from explaind.features.targets import Loss
from explaind.ledger import Average
from explaind.recording.trajectory import Trajectory
from explaind.runtime.allocator import keep_memory


def influence(
    run: Trajectory | Path | str,
    model: nn.Module,
    loss_fn: Loss | None = None,
    *,
    train: Any = None,
    test: Any,
    forward: Forward | None = None,
    penalty: Penalty | None = None,
    average: Average | None = None,
    keep: Sequence[str] = ("step", "layer"),
    importance: Sequence[str] = (),
    steps: slice | Sequence[int] | None = None,
    groups: Groups = None,
    target: str | Callable[..., Any] | tuple[str, Callable[..., Any]] = "output",
    lineage: str = "update",
    tolerance: float = 1e-2,
    max_nodes: int = 81,
    nodes: int | None = None,
    tail_tolerance: float = 1e-5,
    samples: slice | Sequence[int] | None = None,
    replay: str = "refuse",
    replay_tolerance: float | None = None,
) -> xr.Dataset:
    """Decompose a prediction, or a function of it, into what training steps, parameters and samples contributed.

    Args:
        run: path of a recorded trajectory.
        model: the recorded model; only its structure is used, its present values do not matter and are not changed.
        loss_fn: the loss of the run, (outputs [n, …], targets [n]) → scalar, with its own reduction. Needed for
            train=…, target="loss", and the check of the replay.
        train: the training samples as they were indexed while recording: (inputs [N, …], targets [N, …]), tensors or NumPy
            arrays, or a Dataset; as `explaind.Augmented` if the run saw augmented samples.
            With them and loss_fn, every update that the answer rests on is rebuilt first, once: one forward and backward pass
            for each, cached beside the recording. Without them, the gradient that each update implies must be as long as
            the recorded one. A recording with keep="replay" needs them.
        test: the explained samples: inputs, (inputs, targets), tensors or NumPy arrays, or a Dataset. The model is explained in
            evaluation mode; with `explaind.Masked` in training mode, with masks that are drawn once.
        forward: (module, inputs) → outputs [n, …], used in place of module(inputs), for a model that takes several arguments
            or returns a tuple or an object: forward=lambda module, inputs: module(inputs).logits.
        penalty: the function that the run announced by `Recorder.penalty`, model → scalar; None if it announced none.
        average: the average of the parameters that is explained in place of the last ones, `explaind.Average.exponential(decay)`,
            `.equal(start=…)` or `.of(weights)`; updates then act as far as the average saw them.
        keep: axes of the answer out of "step", "layer" or "parameter", "train", "test", "output"; the rest is summed.
        importance: axes out of "test" and "output" over which absolute values are summed, last.
        steps: a slice of updates, or a list of them (the rest then appears as `omitted`). All by default.
        groups: parameter groups: layers by default, "all", or a mapping name → parameter names, patterns or masks.
        target: "output", "loss", "margin", the path of a module (its activation), a function h(outputs, targets), or a pair
            (path of a module, h of its flattened activation and the targets).
        lineage: credit on a kept step axis at the "update" (where momentum acts) or at the "sample"'s own step.
        tolerance: accepted |residual| of every step, test sample and output, in units of the target. Where a query sums over
            test samples or outputs, an algorithm may measure that of their sum. Below 1e-3 a float32 run is evaluated in
            float64.
        max_nodes: most midpoint nodes of a step and row (a test sample, or their sum), a power of three (1, 3, 9, …); of
            other numbers, the next lower power acts.
        nodes: a fixed number of midpoint nodes instead, as the paper does.
        tail_tolerance: momentum weight, a number between 0 and 1, below which gradients from before the window are left out.
        samples: with "train" kept, the training samples on this axis: a slice, or their numbers; the others are summed in
            the variable `others`, which costs nothing for each of them. All samples by default.
        replay: "refuse" the run if an update does not follow from what was recorded, or "warn" and answer all the same; the
            attribute `replay_failed` then counts them.
        replay_tolerance: accepted length of (rebuilt − observed update), relative to the update (1e-3 for float32 runs, 1e-8
            for float64 runs), beyond what rounding of the stored parameters explains.

    Returns:
        Dataset with `kernel`, `regularization` (and `others`, where `samples` are chosen; `penalty`, where the run announced one;
        `carried`, for a resumed optimizer) over the kept axes, `initial`,
        `final`, `residual` = `quadrature` + `replay` (and `omitted`), `nodes` and `quadrature_error` per step, such that
        initial + Σ kernel + Σ others + Σ regularization + Σ penalty + Σ carried + Σ residual + omitted = final.
        Importances have no residual; `kernel_all` and `regularization_all` are taken at the level of all groups together. Of a
        recording with keep="replay", the attributes `remade`, `remade_same_bits` and `remade_difference` say how many updates
        were made again, how many of them to the bit, and how far they are from the kept states at most
        (`explaind.attribution.remade`).

    Raises:
        StoreError, QueryError, DataError, LedgerError: see each; always before the first long loop.
    """
    query = Query(
        keep, importance, steps, groups, target, lineage, tolerance, max_nodes, nodes, tail_tolerance, samples,
    )  # fmt: skip
    problem = make_problem(
        run, model, loss_fn, query, train=train, test=test, forward=forward, penalty=penalty, average=average
    )
    keep_memory()
    how = make_plan(problem, timed=False)
    scores = answer(check_replay(problem, replay_tolerance, replay), how)
    scores.attrs |= report(problem.trajectory)
    return scores


def plan(
    run: Trajectory | Path | str,
    model: nn.Module,
    loss_fn: Loss | None = None,
    *,
    train: Any = None,
    test: Any,
    forward: Forward | None = None,
    penalty: Penalty | None = None,
    average: Average | None = None,
    **options: Any,
) -> Plan:
    """What `influence` with the same arguments would do and cost. Evaluates the model on a few samples, nothing more.

    Of a recording with keep="replay", the updates around both ends of the window are made again for that. What is made again
    takes a forward and backward pass an update for each walk, and about 4 · every · D numbers, which come on top of the plan.
    """
    for name in ("replay", "replay_tolerance"):
        options.pop(name, None)
    query = Query(**options)
    return make_plan(
        make_problem(
            run,
            model,
            loss_fn,
            query,
            train=train,
            test=test,
            forward=forward,
            penalty=penalty,
            average=average,
        )
    )
