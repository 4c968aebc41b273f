"""Answer a query that keeps the train axis, or credits by sample: the contraction, block by block of test samples."""

from __future__ import annotations

from dataclasses import replace

import torch
import xarray as xr
from torch import Tensor

from explaind.attribution import assemble
from explaind.attribution.adjoint import Adjoint
from explaind.attribution.buffered import by_update
from explaind.attribution.contraction import Contraction, Observer
from explaind.attribution.plan import Plan
from explaind.attribution.problem import Problem, blocks
from explaind.attribution.reverse import feature_rows
from explaind.errors import QueryError
from explaind.runtime.device import on
from explaind.runtime.progress import track

AXES = ("step", "layer", "train", "test", "output")


def contract(problem: Problem, plan: Plan, *, observe: Observer | None = None) -> xr.Dataset:
    """The dataset of a contraction query.

    Args:
        problem: with training gradients.
        plan: adjoint or buffered.
        observe: sees every Φ_s [R, D] of the adjoint's walk, rows of one block of tests at a time.
    """
    with on(problem.model.device):
        return _contract(problem, plan, observe)


def _contract(problem: Problem, plan: Plan, observe: Observer | None) -> xr.Dataset:
    query = problem.query
    if not problem.steps:
        raise QueryError("No update is explained.", expected="at least one step", got="an empty window")
    parts = blocks(len(problem.test), plan.block) if query.resolves("test") else [slice(0, len(problem.test))]
    rows = feature_rows(problem)
    joined = _Joined(problem)
    with track(None, total=len(parts) * len(problem.steps), description="contraction", unit="step") as bar:
        for tests in parts:
            if plan.algorithm == "buffered":
                found = by_update(problem, tests, rows, bar.advance)
            else:
                engine = Adjoint(problem, tests, rows, per_sample=query.keeps("train"), observe=observe)
                found = engine.run(bar.advance)
            joined.add(found, (tests.stop - tests.start) / len(problem.test))
    return joined.dataset(plan, parts)


class _Joined:
    """Blocks of rows, side by side along the test axis, or summed where it is not kept."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._with_all = bool(problem.query.importance) and not problem.partition.single
        self._blocks: list[dict[str, Tensor]] = []
        self._steps: tuple[int | None, ...] = ()
        self._error = torch.zeros(len(problem.steps), dtype=torch.float64)
        self._nodes = torch.zeros(len(problem.steps), dtype=torch.float64)

    def add(self, found: Contraction, share: float) -> None:
        """One block, which holds this share of the test samples."""
        self._steps = found.steps
        self._error = torch.maximum(self._error, found.error)
        self._nodes += found.nodes * share
        outputs = self._problem.outputs if self._problem.query.resolves("output") else 1
        pieces = {
            "kernel": found.kernel,
            "regularization": found.regularization.unsqueeze(2),
            "carried": found.carried.unsqueeze(2),
            "explained": found.explained[:, None, None],
            "change": found.change[:, None, None],
            "bound": found.bound[:, None, None],
        }
        if self._problem.query.importance:
            pieces["replay"] = _missed(found)[:, None, None]
        self._blocks.append({k: self._close(v.unflatten(-1, (-1, outputs))) for k, v in pieces.items()})

    def _close(self, values: Tensor) -> Tensor:
        """Absolute values of [S, G, N, n, O] over the importance axes, which keep length one."""
        dims = [{"test": -2, "output": -1}[a] for a in self._problem.query.importance]
        if not dims:
            return values
        if self._with_all:  # the sum over all groups is one more group, formed before the absolute value
            values = torch.cat([values, values.sum(1, keepdim=True)], dim=1)
        return torch.linalg.vector_norm(values, ord=1, dim=dims, keepdim=True)

    def _join(self, name: str) -> Tensor:
        parts = [block[name] for block in self._blocks]
        return torch.cat(parts, dim=-2) if self._problem.query.keeps("test") else torch.stack(parts).sum(0)

    def dataset(self, plan: Plan, parts: list[slice]) -> xr.Dataset:
        """The labelled result."""
        problem, query = self._problem, self._problem.query
        credited = problem.steps if self._steps == (None,) else self._steps
        by_step = query.lineage == "update" and query.keeps("step")
        total = problem if by_step else _without(problem, "step")  # what is not credited to single updates
        asked = {"kernel": problem, "regularization": _without(problem, "train")}
        if bool((problem.trajectory.initial_buffer != 0).any()):
            asked["carried"] = _without(total, "train")
        steps = {"dims": ["step"], "coords": {"step": list(problem.steps)}}
        certificate = {
            "nodes": xr.DataArray(self._nodes.cpu().numpy(), **steps),
            "error": xr.DataArray(self._error.cpu().numpy(), **steps),
        }
        terms = {}
        for name, kept in asked.items():
            values = self._join(name)
            if self._with_all:
                everything = _without(kept, "layer")
                terms[f"{name}_all"] = assemble.labelled(everything, values[:, -1:], AXES, credited)
                values = values[:, :-1]
            terms[name] = assemble.labelled(kept, values, AXES, credited)
        plain, summed = _without(problem, "train", "layer"), _without(total, "train", "layer")
        bound = assemble.labelled(summed, self._join("bound"), AXES)
        if query.importance:
            replay = assemble.labelled(summed, self._join("replay"), AXES)
            return assemble.importance(problem, plan, terms, replay=replay, bound=bound, **certificate)
        change, explained = (assemble.labelled(summed, self._join(n), AXES) for n in ("change", "explained"))
        ends = []
        for s in problem.window:
            values = torch.cat([problem.values(s, *problem.test.take(p)).double() for p in parts])
            values = values if query.keeps("output") else values.sum(1, keepdim=True)
            values = values if query.keeps("test") else values.sum(0, keepdim=True)
            ends.append(assemble.labelled(plain, values, AXES[3:]))
        return assemble.additive(
            problem, plan, terms, ends=(ends[0], ends[1]), change=change,
            explained=explained.astype(float), bound=bound.astype(float), **certificate,
        )  # fmt: skip


def _missed(found: Contraction) -> Tensor:
    """Φ·u − Σ of the parts, by update or over all of them, as `explained`."""
    parts = [found.kernel.sum((1, 2)), found.regularization.sum(1), found.carried.sum(1)]
    if len(found.explained) == 1:
        parts = [part.sum(0, keepdim=True) for part in parts]
    return found.explained - sum(parts)


def _without(problem: Problem, *axes: str) -> Problem:
    """The problem with these axes not kept, for labels."""
    drop = {*axes, "parameter"} if "layer" in axes else set(axes)
    keep = tuple(axis for axis in problem.query.keep if axis not in drop)
    return replace(problem, query=replace(problem.query, keep=keep))
