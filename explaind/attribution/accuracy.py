"""What an answer states about its own errors: nodes, quadrature error, and how its updates were checked."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from explaind.attribution.plan import Plan
from explaind.attribution.problem import Problem
from explaind.errors import LedgerError, QuadratureWarning
from explaind.features.targets import Target


def state_accuracy(
    dataset: xr.Dataset, problem: Problem, plan: Plan, nodes: xr.DataArray, error: xr.DataArray
) -> xr.Dataset:
    """The dataset with its errors, and with attributes that state the query and how it was answered.

    Args:
        dataset: with its `replay` and `replay_bound`.
        problem, plan: the query, and how it was answered.
        nodes: mean nodes per sample of each explained update, (step).
        error: worst |quadrature residual| of each explained update, (step).

    Raises:
        LedgerError: the per-sample gradients do not add up to the gradient of the batch.
    """
    start, stop = problem.window
    dataset["nodes"], dataset["quadrature_error"] = nodes, error
    _state_replay(dataset, problem)
    query = problem.query
    above = int((~(error <= query.tolerance)).sum()) if query.nodes is None else 0
    if above:
        warnings.warn(
            f"{above} of {error.size} updates keep a quadrature error above {query.tolerance:g} at {query.max_nodes} nodes "
            f"(at worst {float(error.max()):.3g}); it is part of the residual. Raise max_nodes to lower it.",
            QuadratureWarning,
            stacklevel=2,
        )
    dataset.attrs |= {
        "algorithm": plan.algorithm,
        "start": start,
        "stop": stop,
        "target": _name(query.target),
        "lineage": query.lineage,
        "tolerance": "none" if query.nodes is not None else query.tolerance,
        "max_nodes": query.max_nodes,
        "fixed_nodes": query.nodes or 0,
        "updates_above_tolerance": above,
        "nodes_mean": float(nodes.mean()) if nodes.size else 0.0,
        "quadrature_error_worst": float(error.max()) if error.size else 0.0,
        "dtype": str(problem.dtype).removeprefix("torch."),
        "run": problem.trajectory.path.name,
        "complete": int(problem.trajectory.complete),
    }
    if problem.masks is not None:
        dataset.attrs["masks"] = f"of one pass over all test samples from seed {problem.masks}"
    return dataset


def _state_replay(dataset: xr.Dataset, problem: Problem) -> None:
    """State in the dataset what was checked, per step and as attributes; refuse an answer that misses more than was accepted.

    Raises:
        LedgerError: the per-sample gradients do not add up to the gradient of the batch.
    """
    replay = problem.replay
    if replay is None:
        dataset.attrs["replay_checked"] = "nothing"
        return
    steps = list(problem.steps)
    on_steps = {"dims": ["step"], "coords": {"step": steps}}
    dataset["replay_relative"] = xr.DataArray(replay.relative[steps], **on_steps)
    dataset["replay_accepted"] = xr.DataArray(np.array([replay.bound(s) for s in steps]), **on_steps)
    dataset.attrs |= {
        "replay_checked": replay.how,
        "replay_tolerance": replay.tolerance,
        "replay_worst": float(np.nanmax(replay.relative, initial=0.0)),
        "replay_undecided": replay.undecided,
        "replay_failed": len(replay.failed),
    }
    if problem.path.average is not None:
        dataset.attrs["average"] = problem.path.average.name
        if problem.path.difference is not None:
            dataset.attrs["average_difference"] = problem.path.difference
    if problem.trajectory.normalizes:
        dataset.attrs["running_statistics"] = f"after update {problem.trajectory.n_steps}"
    if problem.trajectory.autocast:
        dataset.attrs |= {
            "half_precision": ", ".join(problem.trajectory.autocast),
            "half_precision_allowed": problem.half,
        }
    excess = abs(dataset["replay"]) - dataset["replay_bound"]
    if problem.query.contracts and not replay.failed and bool((excess > 0).any()):
        worst = float(excess.max())
        raise LedgerError(
            "The per-sample gradients do not add up to the updates, so nothing is attributed to samples.",
            expected="a replay error within what the check of whole batches accepted",
            got=f"{float(abs(dataset['replay']).max()):.3g}, which is {worst:.3g} above it, in units of the target",
            remedy="The model must treat each sample alone: nothing in its forward or backward pass may depend on the others of "
            "the batch.",
        )


def _name(target: Target) -> str:
    """A target in words: its name, or that of the function, with the module that the function reads."""
    if isinstance(target, tuple):
        return f"{_name(target[1])} of {target[0]}"
    return target if isinstance(target, str) else getattr(target, "__name__", "function")
