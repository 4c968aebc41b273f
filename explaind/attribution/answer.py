"""Answer a query: run the planned algorithm over blocks of test samples, and collect what it yields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import torch
import xarray as xr
from torch import Tensor

from explaind.attribution.adjoint import adjoint
from explaind.attribution.assemble import assemble
from explaind.attribution.block import Block
from explaind.attribution.buffered import buffered
from explaind.attribution.collector import Collector
from explaind.attribution.directional import Directional
from explaind.attribution.forward import forward
from explaind.attribution.half_precision import half_rounding
from explaind.attribution.kept import Kept, Observer, Walk
from explaind.attribution.plan import Plan
from explaind.attribution.problem import Problem, blocks
from explaind.attribution.query import Query
from explaind.attribution.reverse import feature_rows, reverse
from explaind.errors import QueryError
from explaind.runtime.device import on
from explaind.runtime.progress import track

Algorithm = Callable[[Problem, slice, Walk], Iterator[Block]]


def answer(problem: Problem, plan: Plan, *, observe: Observer | None = None) -> xr.Dataset:
    """The dataset of a checked problem's own query.

    Args:
        problem: its replay was checked.
        plan: how.
        observe: sees every Φ_s [R, D] of the adjoint's walk, rows of one block of tests at a time.

    Within a job that has a state (`explaind.runtime.durable`), what an earlier attempt has done is not done again.

    Raises:
        QueryError: no update is explained, where samples are contracted.
        LedgerError: the per-sample gradients do not add up to the updates.
    """
    return answer_views(problem, plan, {"query": problem.query}, observe=observe)["query"]


def answer_views(
    problem: Problem, plan: Plan, views: Mapping[str, Query], *, observe: Observer | None = None
) -> dict[str, xr.Dataset]:
    """Several views of one problem, in a single walk over its updates; one dataset for each.

    Args:
        problem: its query resolves every axis that some view resolves, with the same steps, groups and target.
        plan, observe: as for `answer`.
        views: queries that differ in `keep` and `importance` only. A contraction has one view, the problem's own query.
    """
    with on(problem.model.device):
        return _answer(problem, plan, views, observe)


def _answer(
    problem: Problem, plan: Plan, views: Mapping[str, Query], observe: Observer | None
) -> dict[str, xr.Dataset]:
    if problem.query.contracts:
        problem = replace(problem, half=half_rounding(problem))
    algorithm = _algorithm(problem, plan, observe)
    viewed = {name: replace(problem, query=view) for name, view in views.items()}
    collectors = {name: Collector(each) for name, each in viewed.items()}
    kept = Kept(collectors, observe)
    parts = blocks(len(problem.test), plan.block)
    description = "contraction" if problem.query.contracts else "influence"
    with track(None, total=len(parts) * len(problem.steps), description=description, unit="step") as bar:
        for number, tests in enumerate(parts):
            walk = kept.walk(number, bar.advance)
            if walk is None:
                continue
            for block in algorithm(problem, tests, walk):
                for collector in collectors.values():
                    collector.add(block)
                kept.collected()
            for collector in collectors.values():
                collector.close(tests)
            kept.completed()
    kept.close()
    signed = any(not view.importance for view in views.values())
    ends = _ends(problem, parts) if signed else None
    return {name: assemble(viewed[name], plan, collector, ends) for name, collector in collectors.items()}


def _algorithm(problem: Problem, plan: Plan, observe: Observer | None) -> Algorithm:
    if plan.algorithm == "forward":
        return forward
    if plan.algorithm == "reverse":
        return reverse
    if not problem.steps:
        raise QueryError("No update is explained.", expected="at least one step", got="an empty window")
    rows = feature_rows(problem)  # shared by all blocks, with what it has traced
    if plan.algorithm == "buffered":
        return partial(buffered, rows=rows)
    directional = Directional(problem) if plan.algorithm == "directional" else None
    return partial(adjoint, rows=rows, directional=directional, observe=observe)


def _ends(problem: Problem, parts: list[slice]) -> tuple[Tensor, Tensor]:
    """Values of the target at both ends of the window, float64 [N, O]."""
    start, stop = problem.window
    both = ([problem.values(s, *problem.test.take(tests)).double() for tests in parts] for s in (start, stop))
    first, last = (torch.cat(values) for values in both)
    return first, last
