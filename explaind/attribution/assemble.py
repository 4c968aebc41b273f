"""From collected numbers to a labelled dataset, with the three errors apart.

initial + Σ kernel + Σ regularization (+ Σ carried) + Σ residual (+ omitted) = final          (completeness)

residual     = quadrature + replay
quadrature     what the nodes miss: exact change − Φ·u
replay         what recomputed gradients miss: Φ·u − Σ of the parts; zero where no gradient is recomputed
replay_bound   what it can be if every update is within the tolerance of the check: Σ_s accepted_s ‖u_s‖ ‖Φ_s‖
omitted        the exact change over the updates that `steps` leaves out

Importances carry `replay` and `replay_bound` too, summed over the importance axes. Both are in the units of the target; the check
itself, in units of the update, stands per step in `replay_relative` and `replay_accepted`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from torch import Tensor

from explaind.attribution.plan import Plan
from explaind.attribution.problem import Problem
from explaind.errors import LedgerError, QuadratureWarning


def labelled(
    problem: Problem, values: Tensor, axes: Sequence[str], steps: Sequence[int] | None = None
) -> xr.DataArray:
    """A DataArray over the kept axes among `axes`; the others have length one and are dropped.

    Args:
        problem: gives the labels.
        values: one axis for each name in `axes`.
        axes: names out of step, layer, train, test, output.
        steps: labels of the step axis; the explained updates by default.
    """
    query = problem.query
    array = values.detach().cpu().numpy()
    dims, coords, index = [], {}, []
    for axis in axes:
        name = "parameter" if axis == "layer" and query.keeps("parameter") else axis
        if not query.keeps(name):
            index.append(0)
            continue
        index.append(slice(None))
        dims.append(name)
        size = array.shape[len(index) - 1]
        if name == "layer":
            coords[name] = list(problem.partition.names) + ["all"] * (size - len(problem.partition))
        elif name == "step":
            coords[name] = np.asarray(problem.steps if steps is None else steps, dtype=np.int64)
        else:
            coords[name] = np.arange(size)
    return xr.DataArray(array[tuple(index)], dims=dims, coords=coords)


def additive(
    problem: Problem,
    plan: Plan,
    parts: Mapping[str, xr.DataArray],
    *,
    ends: tuple[xr.DataArray, xr.DataArray],
    change: xr.DataArray,
    explained: xr.DataArray | None,
    bound: xr.DataArray | None,
    nodes: xr.DataArray,
    error: xr.DataArray,
) -> xr.Dataset:
    """The dataset of a signed query.

    Args:
        problem, plan: what was asked and how it was answered.
        parts: kernel, regularization (and carried), over their own kept axes.
        ends: values at the first and after the last explained update, over kept test and output.
        change: exact change over the explained updates, over kept step, test and output.
        explained: Φ·u summed over the window, where gradients were recomputed.
        bound: of what they may miss, over the axes of `explained`.
        nodes: mean nodes per sample of each explained update, (step).
        error: worst |quadrature residual| of each explained update, (step).
    """
    initial, final = ends
    rest = change.astype(np.float64)
    for part in parts.values():
        extra = [d for d in part.dims if d not in change.dims]
        summed = part.astype(np.float64).sum(extra)
        if "step" in summed.dims and "step" not in change.dims:
            summed = summed.sum("step")
        rest = rest - (summed.reindex(step=change.step, fill_value=0.0) if "step" in summed.dims else summed)
    quadrature = rest if explained is None else change.astype(np.float64) - explained
    dataset = xr.Dataset(dict(parts))
    dataset["initial"], dataset["final"] = initial, final
    dataset["residual"], dataset["quadrature"] = rest, quadrature
    dataset["replay"] = rest - quadrature
    dataset["replay_bound"] = xr.zeros_like(dataset["replay"]) if bound is None else bound
    start, stop = problem.window
    if len(problem.steps) < stop - start:
        whole = change.sum("step") if "step" in change.dims else change
        dataset["omitted"] = final.astype(np.float64) - initial.astype(np.float64) - whole
    return _certified(dataset, problem, plan, nodes, error)


def importance(
    problem: Problem,
    plan: Plan,
    parts: Mapping[str, xr.DataArray],
    *,
    replay: xr.DataArray,
    bound: xr.DataArray,
    nodes: xr.DataArray,
    error: xr.DataArray,
) -> xr.Dataset:
    """The dataset of an importance query: absolute values do not add up, so there is no residual, only what bounds it.

    Args:
        problem, plan, parts, nodes, error: as for `additive`.
        replay, bound: absolute values summed over the importance axes, over the other kept axes.
    """
    dataset = xr.Dataset(dict(parts))
    dataset["replay"], dataset["replay_bound"] = replay, bound
    dataset = _certified(dataset, problem, plan, nodes, error)
    inside = [a for a in ("step", "layer", "train", "test", "output") if not problem.query.keeps(a)]
    inside = [a for a in inside if a not in problem.query.importance]
    dataset.attrs["importance"] = "absolute values over " + ", ".join(problem.query.importance)
    dataset.attrs["summed_inside"] = ", ".join(inside)
    return dataset


def _certified(
    dataset: xr.Dataset, problem: Problem, plan: Plan, nodes: xr.DataArray, error: xr.DataArray
) -> xr.Dataset:
    start, stop = problem.window
    dataset["nodes"], dataset["quadrature_error"] = nodes, error
    _state_replay(dataset, problem)
    query = problem.query
    above = int((error > query.tolerance).sum()) if query.nodes is None else 0
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
        "target": query.target
        if isinstance(query.target, str)
        else getattr(query.target, "__name__", "function"),
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
    return dataset


def _state_replay(dataset: xr.Dataset, problem: Problem) -> None:
    """Say in the dataset what was checked, per step and in words; refuse an answer that misses more than was accepted.

    Raises:
        LedgerError: the gradients of single samples do not add up to what the batch pushed.
    """
    found = problem.replay
    if found is None:
        dataset.attrs["replay_checked"] = "nothing"
        return
    steps = list(problem.steps)
    on_steps = {"dims": ["step"], "coords": {"step": steps}}
    dataset["replay_relative"] = xr.DataArray(found.relative[steps], **on_steps)
    dataset["replay_accepted"] = xr.DataArray(np.array([found.bound(s) for s in steps]), **on_steps)
    dataset.attrs |= {
        "replay_checked": found.how,
        "replay_tolerance": found.tolerance,
        "replay_worst": float(np.nanmax(found.relative, initial=0.0)),
        "replay_undecided": found.undecided,
        "replay_failed": len(found.failed),
    }
    excess = abs(dataset["replay"]) - dataset["replay_bound"]
    if problem.query.contracts and not found.failed and bool((excess > 0).any()):
        worst = float(excess.max())
        raise LedgerError(
            "The gradients of single samples do not add up to the updates, so nothing is attributed to samples.",
            expected="a replay error within what the check of whole batches accepted",
            got=f"{float(abs(dataset['replay']).max()):.3g}, which is {worst:.3g} above it, in units of the target",
            remedy="The model must treat each sample alone: nothing in its forward or backward pass may depend on the others of "
            "the batch.",
        )
