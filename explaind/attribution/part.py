"""A part of a run's influence: some updates and some test samples, in a form whose sum does not depend on how it was cut.

Three things make `explaind.attribution.accumulate.combine` give the same bits for every cut, on one device with one number of
threads:

    update    the influence of every update is rounded to whole quanta before it is summed (`exact_sums`)
    block     test samples are evaluated in the same blocks in every part, and by the traced model from the first update on: the
              bits of a product can depend on how many rows it has and how it is written. Parts are cut between blocks
    order     what is summed over test samples in floating point (importances, nodes) is kept by block, and added in the order
              of the blocks
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from explaind.attribution.assemble import assemble
from explaind.attribution.block import UNGROUPED, Block
from explaind.attribution.collector import Collector
from explaind.attribution.exact_sums import check_reach, to_quanta
from explaind.attribution.forward import forward
from explaind.attribution.kept import Kept
from explaind.attribution.plan import make_plan
from explaind.attribution.problem import Problem, blocks, make_problem
from explaind.attribution.query import Query
from explaind.attribution.replay import certified
from explaind.attribution.reverse import reverse
from explaind.errors import QueryError
from explaind.experiments.experiment import Experiment
from explaind.features import batched
from explaind.recording.trajectory import Trajectory
from explaind.runtime.device import on
from explaind.runtime.progress import track

__all__ = ["make_part"]

IMPORTANCES = ("kernel", "kernel_all", "regularization", "regularization_all")
REPLAY = ("replay_relative", "replay_accepted")


def make_part(
    run: Trajectory,
    experiment: Experiment,
    certificate: Path | None,
    options: Mapping[str, Any],
    *,
    steps: tuple[int, int],
    tests: tuple[int, int],
) -> xr.Dataset:
    """Influence of the updates [start, stop) on the test samples [first, last), which begin and end between blocks.

    Args:
        run, experiment: the recorded run and what it was made of.
        certificate: of the run, in which every update was rebuilt; None: each is checked by the gradient that it implies.
        options: `influence.{tolerance,max_nodes,tests,groups,block}`.
        steps, tests: the ranges, neither of them empty.

    Returns:
        kernel, regularization (layer, test, output), summed over the updates, int64, in quanta; initial, final (test, output);
        importances (block, step[, layer]), summed over a block's test samples and outputs; of every block and update the mean
        nodes, the worst |quadrature residual| and the largest |influence| (block, step), and the block's `samples`; the replay's
        errors (step). `block` is labelled by its first test sample.

    Raises:
        QueryError: the range of test samples cuts a block, or the influences cannot be added up exactly.
        LedgerError: the certificate does not cover the run.
    """
    if tests[0] % options["block"] or (tests[1] % options["block"] and tests[1] != options["tests"]):
        raise QueryError(
            "A part of the influence cuts a block of test samples.",
            expected=f"a range between multiples of {options['block']}, or to the last of {options['tests']}",
            got=f"{tests[0]} to {tests[1]}",
            remedy="Cut between blocks, or choose another influence.block.",
        )
    query = Query(
        keep=("layer", "test", "output"),
        steps=slice(*steps),
        groups=experiment.groups if options["groups"] == "layer" else {"all": ["*"]},
        tolerance=options["tolerance"],
        max_nodes=options["max_nodes"],
    )
    found = []
    for part in blocks(tests[1] - tests[0], options["block"]):
        first, last = tests[0] + part.start, tests[0] + part.stop
        samples = tuple(values[first:last] for values in experiment.test)
        problem = make_problem(run, experiment.model, experiment.loss, query, test=samples)
        found.append(_block(certified(problem, certificate), first))
    by_test, by_block = (
        [name for name in found[0] if axis in found[0][name].dims] for axis in ("test", "block")
    )
    result = xr.merge(
        [xr.concat([one[names] for one in found], axis, join="exact")
         for names, axis in ((by_test, "test"), (by_block, "block"))]
        + [found[0][list(REPLAY)]]
    )  # fmt: skip
    result.attrs = found[0].attrs
    return result


def _block(problem: Problem, first: int) -> xr.Dataset:
    """One block of test samples, beginning with test sample `first`."""
    start, stop = problem.window
    importance = replace(problem.query, keep=("step", "layer"), importance=("test", "output"))
    viewed = replace(problem, query=importance)
    plan, collector, total = make_plan(problem, timed=False), Collector(viewed), _ExactSum(problem)
    walk = forward if plan.algorithm == "forward" else reverse
    several = blocks(len(problem.test), plan.block)
    with (
        on(problem.model.device),
        _always_traced(),
        track(None, total=len(several) * len(problem.steps), description="influence", unit="step") as bar,
    ):
        kept = Kept({"importances": collector, "sum": total}, None)
        for number, tests in enumerate(several):
            ahead = kept.walk(number, bar.advance)
            if ahead is None:
                continue
            for block in walk(problem, tests, ahead):
                total.add(block)
                collector.add(block)
                kept.collected()
            collector.close(tests)
            kept.completed()
        kept.close()
        result = assemble(viewed, plan, collector, None)
        ends = [problem.values(s, *problem.test.take(slice(None))) for s in (start, stop)]
    result = result.rename({name: f"importance_{name}" for name in IMPORTANCES})
    result = result.drop_vars(["replay", "replay_bound"]).assign(largest=("step", total.largest))
    result = result.drop_vars(REPLAY).expand_dims(block=[first]).merge(result[list(REPLAY)])
    for name, quanta in total.terms().items():
        result[name] = (("layer", "test", "output"), quanta)
    for name, values in zip(("initial", "final"), ends, strict=True):
        result[name] = (("test", "output"), values.double().cpu().numpy())
    result["samples"] = ("block", [len(problem.test)])
    result = result.assign_coords(
        test=first + np.arange(len(problem.test)), output=np.arange(problem.outputs)
    )
    # What a block alone knows is no attribute of the whole.
    return result.drop_attrs(deep=False).assign_attrs(
        {
            name: value
            for name, value in result.attrs.items()
            if name not in ("nodes_mean", "quadrature_error_worst", "updates_above_tolerance")
        }
    )


class _ExactSum:
    """The influences of updates in quanta, added up."""

    def __init__(self, problem: Problem) -> None:
        self._names: tuple[str, ...] = ()
        self._sum: Tensor | None = None  # int64 [G, K, N, O], of a block of N test samples
        self._samples = len(problem.test)
        self._position = {s: i for i, s in enumerate(problem.steps)}
        self.largest = np.zeros(len(problem.steps))  # |influence| of each update, in units of the target

    def add(self, block: Block) -> None:
        """One update of some of the test samples."""
        (quantity,) = (one for one in block.quantities if one.names[0] not in UNGROUPED)
        groups = (
            quantity.groups if isinstance(quantity.groups, Tensor) else torch.stack(list(quantity.groups))
        )
        values = groups[:, 0, :, 0]
        at = self._position[block.steps[0]]
        self.largest[at] = np.maximum(self.largest[at], float(values.abs().max()))
        check_reach(self.largest)
        if self._sum is None:
            self._names = quantity.names
            shape = (*values.shape[:2], self._samples, values.shape[3])
            self._sum = torch.zeros(shape, dtype=torch.int64, device=values.device)
        self._sum[:, :, block.tests] += to_quanta(values)

    def state(self) -> dict[str, Any]:
        """What has been added so far, for `restore`."""
        return {"names": self._names, "sum": self._sum, "largest": self.largest}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of a sum over the same block."""
        self._names, self._sum, self.largest = state["names"], state["sum"], state["largest"]

    def terms(self) -> dict[str, np.ndarray]:
        """Term of the update → int64 [layer, test, output]."""
        assert self._sum is not None
        return {name: self._sum[:, k].cpu().numpy() for k, name in enumerate(self._names)}


@contextmanager
def _always_traced() -> Iterator[None]:
    """Within this block models are traced at their first call. Otherwise the first calls are plain, and round differently: the
    bits of an update would depend on how far from the beginning of its part it is."""
    before, batched.PLAIN_CALLS = batched.PLAIN_CALLS, 0
    try:
        yield
    finally:
        batched.PLAIN_CALLS = before
