"""From collected numbers to a labelled dataset, with the three errors apart.

initial + Σ kernel (+ Σ others) + Σ regularization (+ Σ penalty) (+ Σ carried) + Σ residual (+ omitted) = final     (completeness)

others         training samples that the query does not keep one by one, where it chooses some
residual     = quadrature + replay
quadrature     what the nodes miss: exact change − Φ·u
replay         what recomputed gradients miss: Φ·u − Σ of the parts; zero where no gradient is recomputed
replay_bound   what it can be if every update is within the tolerance of the check: Σ_s accepted_s ‖u_s‖ ‖Φ_s‖
omitted        the exact change over the updates that `steps` leaves out

Importances carry `replay` and `replay_bound` too, summed over the importance axes. Both are in the units of the target; the check
itself, in units of the update, stands per step in `replay_relative` and `replay_accepted`.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from explaind.attribution.accuracy import state_accuracy
from explaind.attribution.block import UNGROUPED
from explaind.attribution.collector import Collected, Collector
from explaind.attribution.plan import Plan
from explaind.attribution.problem import Problem
from explaind.attribution.query import Query

AXES = ("step", "layer", "train", "test", "output")
GROUPS = ("layer", "parameter")


def assemble(
    problem: Problem, plan: Plan, collector: Collector, ends: tuple[Tensor, Tensor] | None
) -> xr.Dataset:
    """The dataset of a query.

    Args:
        problem, plan: the query, and how it was answered.
        collector: of all blocks.
        ends: values at the first and after the last explained update, [N, O]; importances need none.

    Raises:
        LedgerError: the per-sample gradients do not add up to the gradient of the batch.
    """
    collected = collector.finish()
    totals = {
        name: _labelled(problem, collected.pop(name), ("train", *GROUPS))
        for name in UNGROUPED
        if name in collected
    }
    terms: dict[str, xr.DataArray] = {}
    for name, values in collected.items():
        terms |= _term(problem, name, values)
    importance = bool(problem.query.importance)
    dataset = _importance(problem, terms, totals) if importance else _additive(problem, terms, totals, ends)
    coords = {"step": list(problem.steps)}
    nodes, error = (
        xr.DataArray(values.cpu().numpy(), dims=["step"], coords=coords)
        for values in (collector.nodes, collector.error)
    )
    dataset = state_accuracy(dataset, problem, plan, nodes, error)
    if importance:
        dataset.attrs |= _levels(problem.query)
    return dataset


def _labelled(problem: Problem, collected: Collected, without: Collection[str] = ()) -> xr.DataArray:
    """Over the kept axes, except those in `without`, which have length one as the others have."""
    query = problem.query
    dropped = {*without, "step"} if collected.steps is None else {*without}
    array = collected.values.detach().cpu().numpy()
    dims, coords, index = [], {}, []
    for axis, size in zip(AXES, array.shape, strict=True):
        name = "parameter" if axis == "layer" and query.keeps("parameter") else axis
        if not query.keeps(name) or name in dropped:
            index.append(0)
            continue
        index.append(slice(None))
        dims.append(name)
        if name == "layer":
            coords[name] = list(problem.partition.names)
        elif name == "step":
            coords[name] = np.asarray(collected.steps, dtype=np.int64)
        elif name == "train" and problem.chosen is not None:
            coords[name] = problem.chosen.indices.numpy()
        else:
            coords[name] = np.arange(size)
    return xr.DataArray(array[tuple(index)], dims=dims, coords=coords)


def _term(problem: Problem, name: str, collected: Collected) -> dict[str, xr.DataArray]:
    """One term of the update; in importances of groups also that of all groups, the last one collected."""
    without = () if name == "kernel" else ("train",)
    steps, values, groups = collected.steps, collected.values, len(problem.partition)
    arrays = {name: _labelled(problem, Collected(steps, values[:, :groups]), without)}
    if values.shape[1] > groups:
        everything = Collected(steps, values[:, groups:])
        arrays[f"{name}_all"] = _labelled(problem, everything, (*without, "layer"))
    return arrays


def _additive(
    problem: Problem,
    terms: dict[str, xr.DataArray],
    totals: dict[str, xr.DataArray],
    ends: tuple[Tensor, Tensor],
) -> xr.Dataset:
    """The dataset of a signed query, with what its terms miss.

    Args:
        problem: the query.
        terms: kernel, regularization (and others, carried), over their own kept axes.
        totals: `change` over kept step, test and output; where gradients were recomputed, also `explained` and `bound`.
        ends: values at the first and after the last explained update, [N, O].
    """
    change = totals["change"]
    rest = change.astype(np.float64)
    for term in terms.values():
        extra = [d for d in term.dims if d not in change.dims]
        summed = term.astype(np.float64).sum(extra)
        rest = rest - (summed.reindex(step=change.step, fill_value=0.0) if "step" in summed.dims else summed)
    recomputed = "explained" in totals
    quadrature = change.astype(np.float64) - totals["explained"].astype(np.float64) if recomputed else rest
    dataset = xr.Dataset(terms)
    initial, final = (_end(problem, values) for values in ends)
    dataset["initial"], dataset["final"] = initial, final
    dataset["residual"], dataset["quadrature"] = rest, quadrature
    dataset["replay"] = rest - quadrature
    dataset["replay_bound"] = (
        totals["bound"].astype(np.float64) if recomputed else xr.zeros_like(dataset["replay"])
    )
    start, stop = problem.window
    if len(problem.steps) < stop - start:
        whole = change.sum("step") if "step" in change.dims else change
        dataset["omitted"] = final.astype(np.float64) - initial.astype(np.float64) - whole
    return dataset


def _importance(
    problem: Problem, terms: dict[str, xr.DataArray], totals: dict[str, xr.DataArray]
) -> xr.Dataset:
    """The dataset of an importance query: absolute values do not add up, so there is no residual, only what bounds it.

    Args:
        problem: the query.
        terms: as for `_additive`.
        totals: where gradients were recomputed, `replay` and `bound`, absolute values summed over the importance axes.
    """
    query = problem.query
    dataset = xr.Dataset(terms)
    if "replay" in totals:
        dataset["replay"], dataset["replay_bound"] = totals["replay"], totals["bound"]
    else:  # no gradient was recomputed, so none can be missed
        sizes = {"step": len(problem.steps), "test": len(problem.test), "output": problem.outputs}
        shape = [sizes[axis] if axis in sizes and query.keeps(axis) else 1 for axis in AXES]
        zeros = Collected(problem.steps, torch.zeros(shape, dtype=torch.float64))
        dataset["replay"] = dataset["replay_bound"] = _labelled(problem, zeros, ("train", *GROUPS))
    return dataset


def _levels(query: Query) -> dict[str, str]:
    """Where absolute values were taken, as attributes."""
    inside = [axis for axis in AXES if not query.keeps(axis) and axis not in query.importance]
    return {
        "importance": "absolute values over " + ", ".join(query.importance),
        "summed_inside": ", ".join(inside),
    }


def _end(problem: Problem, values: Tensor) -> xr.DataArray:
    """The target's values [N, O], summed over the axes that are not kept."""
    if not problem.query.keeps("output"):
        values = values.sum(1, keepdim=True)
    if not problem.query.keeps("test"):
        values = values.sum(0, keepdim=True)
    return _labelled(problem, Collected(None, values[None, None, None]), ("train", *GROUPS))
