"""Answer several views of one problem in a single walk over its steps, train samples summed (forward and reverse)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
import xarray as xr
from torch import Tensor

from explaind.attribution import assemble
from explaind.attribution.collect import Collector, Extent
from explaind.attribution.forward import steps_forward
from explaind.attribution.plan import Plan
from explaind.attribution.problem import Problem, blocks
from explaind.attribution.query import Query
from explaind.attribution.reverse import feature_rows, steps_reverse
from explaind.features.tangents import GroupTangents
from explaind.ledger import UpdateTerms
from explaind.runtime.device import on
from explaind.runtime.progress import track

AXES = ("step", "layer", "test", "output")
Step = tuple[int, Tensor | list[Tensor], Tensor, Tensor, Tensor]
"""(s, influences per group [K, n, O'], change [n, O'], residual [n, O'], nodes [n])."""


def walk(problem: Problem, plan: Plan, views: Mapping[str, Query]) -> dict[str, xr.Dataset]:
    """One dataset per view.

    Args:
        problem: its query resolves every axis that some view resolves, with the same steps, groups and target.
        plan: forward or reverse.
        views: queries that differ in `keep` and `importance` only.
    """
    with on(problem.model.device):
        return _walk(problem, plan, views)


def _walk(problem: Problem, plan: Plan, views: Mapping[str, Query]) -> dict[str, xr.Dataset]:
    names = UpdateTerms(problem.ledger).names
    extent = Extent(problem.steps, len(problem.partition), len(names), len(problem.test))
    collectors = {
        name: Collector(view, extent, with_all=bool(view.importance) and not problem.partition.single)
        for name, view in views.items()
    }
    totals = {name: _Change(problem, view, extent) for name, view in views.items()}
    nodes = torch.zeros(len(problem.steps), dtype=torch.float64)
    error = torch.zeros(len(problem.steps), dtype=torch.float64)
    position = {s: i for i, s in enumerate(problem.steps)}
    parts = blocks(len(problem.test), plan.block)
    with track(None, total=len(parts) * len(problem.steps), description="influence", unit="step") as bar:
        for tests in parts:
            for s, groups, change, residual, spent in _steps(problem, plan, tests):
                for name, collector in collectors.items():
                    collector.add(s, groups, tests)
                    totals[name].add(s, change, tests)
                at = position[s]
                nodes[at] += spent.double().mean() * (tests.stop - tests.start) / len(problem.test)
                error[at] = max(error[at], residual.abs().max())
                bar.advance()
            for name, collector in collectors.items():
                collector.close_block(tests)
                totals[name].close_block(tests)
    steps = {"dims": ["step"], "coords": {"step": list(problem.steps)}}
    certificate = {
        "nodes": xr.DataArray(nodes.cpu().numpy(), **steps),
        "error": xr.DataArray(error.cpu().numpy(), **steps),
    }
    ends = _ends(problem, parts)
    found = {}
    for name, view in views.items():
        asked = replace(problem, query=view)
        terms = _terms(asked, collectors[name].finish(), names, extent)
        if view.importance:
            nothing = _nothing(asked)  # no gradient is recomputed, so none can be missed
            found[name] = assemble.importance(
                asked, plan, terms, replay=nothing, bound=nothing, **certificate
            )
        else:
            labelled = tuple(assemble.labelled(asked, totals[name].reduce(e), AXES[2:]) for e in ends)
            found[name] = assemble.additive(
                asked,
                plan,
                terms,
                ends=labelled,
                change=totals[name].finish(),
                explained=None,
                bound=None,
                **certificate,
            )
    return found


class _Change:
    """The exact change of the value over the kept axes, summed in float64."""

    def __init__(self, problem: Problem, view: Query, extent: Extent) -> None:
        keep = tuple(a for a in view.keep if a in ("step", "test", "output"))
        self._problem = replace(problem, query=replace(view, keep=keep, importance=(), groups=None))
        self._collector = Collector(self._problem.query, replace(extent, groups=1, terms=1))
        self._outputs, self._skip = problem.outputs, bool(view.importance)

    def add(self, s: int, change: Tensor, tests: slice) -> None:
        if not self._skip:
            self._collector.add(s, [change.double().unsqueeze(0)], tests)

    def close_block(self, tests: slice) -> None:
        self._collector.close_block(tests)

    def finish(self) -> xr.DataArray:
        values = self._collector.finish()
        query = self._problem.query
        if values is None:
            tests = len(self._problem.test) if query.keeps("test") else 1
            lead = (0,) if query.keeps("step") else ()
            values = torch.zeros(*lead, 1, 1, tests, self._outputs if query.keeps("output") else 1)
        if not query.keeps("step"):
            values = values.unsqueeze(0)
        return assemble.labelled(self._problem, values[:, 0, 0], ("step", "test", "output"))

    def reduce(self, values: Tensor) -> Tensor:
        """[N, O] summed over the axes that are not kept, which keep length one."""
        query = self._problem.query
        values = values if query.keeps("output") else values.sum(1, keepdim=True)
        return values if query.keeps("test") else values.sum(0, keepdim=True)


def _nothing(problem: Problem) -> xr.DataArray:
    """Zeros over the kept step, test and output."""
    keep = tuple(axis for axis in problem.query.keep if axis not in ("layer", "parameter"))
    plain = replace(problem, query=replace(problem.query, keep=keep))
    zeros = torch.zeros(len(problem.steps), 1, len(problem.test), problem.outputs, dtype=torch.float64)
    return assemble.labelled(plain, zeros, AXES)


def _steps(problem: Problem, plan: Plan, tests: slice) -> Iterator[Step]:
    if plan.algorithm == "forward":
        tangents = GroupTangents(problem.value, problem.partition)
        for block in steps_forward(problem, tests, tangents):
            yield block.step, block.groups, block.change, block.residual, block.nodes
        return
    rows = feature_rows(problem)
    for block, groups in steps_reverse(problem, tests, rows):
        yield block.step, groups, block.change, block.residual, block.nodes


def _ends(problem: Problem, parts: list[slice]) -> tuple[Tensor, Tensor]:
    """Values at both ends of the window, float64 [N, O]."""
    start, stop = problem.window
    both = ([problem.values(s, *problem.test.take(tests)).double() for tests in parts] for s in (start, stop))
    first, last = (torch.cat(values) for values in both)
    return first, last


def _terms(
    problem: Problem, values: Tensor | None, names: tuple[str, ...], extent: Extent
) -> dict[str, xr.DataArray]:
    """Split [S?, G, K, N?, O?] by term; the last group of an importance is all of them together."""
    query = problem.query
    if values is None:  # no steps at all
        lead = (0,) if query.keeps("step") else ()
        count = extent.groups + (1 if query.importance and not problem.partition.single else 0)
        tests = extent.tests if query.keeps("test") else 1
        values = torch.zeros(*lead, count, len(names), tests, problem.outputs if query.keeps("output") else 1)
    if not query.keeps("step"):
        values = values.unsqueeze(0)
    found = {}
    with_all = bool(query.importance) and not problem.partition.single
    for k, name in enumerate(names):
        part = values[:, :, k]
        if with_all:
            found[name] = assemble.labelled(problem, part[:, :-1], AXES)
            everything = replace(
                problem, query=replace(query, keep=tuple(a for a in query.keep if a != "layer"))
            )
            found[f"{name}_all"] = assemble.labelled(everything, part[:, -1:], AXES)
        else:
            found[name] = assemble.labelled(problem, part, AXES)
    return found
