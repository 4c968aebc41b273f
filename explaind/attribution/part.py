"""A part of a run's influence: some updates and some test samples, in a form whose sum does not depend on how it was cut.

Three things make `explaind.attribution.accumulate.combine` give the same bits for every cut, on one device with one number of
threads:

    update    the influence of every update is rounded to whole quanta before it is summed (`exact_sums`)
    block     test samples are evaluated in the same blocks in every part: the bits of a matrix product can depend on how many
              rows it has. Parts are cut between blocks
    order     what is summed over test samples in floating point (importances, nodes) is kept by block, and added in the order
              of the blocks
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from explaind.attribution.answer import answer_views
from explaind.attribution.exact_sums import check_reach, to_quanta
from explaind.attribution.plan import make_plan
from explaind.attribution.problem import Problem, blocks, make_problem
from explaind.attribution.query import Query
from explaind.attribution.replay import certified
from explaind.errors import QueryError
from explaind.experiments.experiment import Experiment
from explaind.recording.trajectory import Trajectory

__all__ = ["make_part"]

TERMS = ("kernel", "regularization")
IMPORTANCES = tuple(f"{name}{level}" for name in TERMS for level in ("", "_all"))
REPLAY = ("replay_relative", "replay_accepted")
UPDATES = 8  # of which the influences on single test samples are held at once


def make_part(
    run: Trajectory,
    experiment: Experiment,
    certificate: Path,
    options: Mapping[str, Any],
    *,
    steps: tuple[int, int],
    tests: tuple[int, int],
) -> xr.Dataset:
    """Influence of the updates [start, stop) on the test samples [first, last), which begin and end between blocks.

    Args:
        run, experiment: the recorded run and what it was made of.
        certificate: of the run, in which every update was rebuilt.
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
        keep=("step", "layer", "test", "output"),
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
    """One block of test samples, beginning with test sample `first`; a few updates at a time."""
    start, stop = problem.window
    several = [_updates(problem, s, min(s + UPDATES, stop)) for s in range(start, stop, UPDATES)]
    by_step = xr.concat([one.drop_dims("test") for one in several], "step", join="exact")
    check_reach(by_step["largest"].values)
    result = by_step.drop_vars(REPLAY).expand_dims(block=[first]).merge(by_step[list(REPLAY)])
    for name in TERMS:
        result[name] = several[0][name]
        for one in several[1:]:
            result[name] = result[name] + one[name]
    result["initial"], result["final"] = several[0]["initial"], several[-1]["final"]
    result["samples"] = ("block", [len(problem.test)])
    result = result.assign_coords(test=first + np.arange(len(problem.test)))
    result.attrs = {
        **{name: value for name, value in several[0].attrs.items() if not name.endswith(("_mean", "_worst"))},
        "replay_worst": max(one.attrs["replay_worst"] for one in several),
        "start": start,
        "stop": stop,
    }
    return result


def _updates(problem: Problem, start: int, stop: int) -> xr.Dataset:
    """Some updates of a block: the sum of their influences in quanta, and their importances."""
    signed = replace(problem.query, steps=slice(start, stop))
    importance = replace(signed, keep=("step", "layer"), importance=("test", "output"))
    problem = replace(problem, query=signed, steps=tuple(range(start, stop)))
    answers = answer_views(
        problem, make_plan(problem, timed=False), {"signed": signed, "importance": importance}
    )
    found = answers["signed"]
    result = found[["initial", "final", "nodes", "quadrature_error", *REPLAY]]
    largest = np.zeros(stop - start)
    for name in TERMS:
        values = found[name].transpose("step", "layer", "test", "output")
        largest = np.maximum(largest, abs(values).max(("layer", "test", "output")).values)
        check_reach(largest)
        result[name] = values.isel(step=0, drop=True).copy(data=to_quanta(values.values).sum(0))
    for name in IMPORTANCES:
        result[f"importance_{name}"] = answers["importance"][name]
    return result.assign(largest=("step", largest)).assign_attrs(found.attrs)
