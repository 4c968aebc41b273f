"""Kernels and similarities of one window for each choice of what is explained (figures 4, 5, 9 and 13 once more).

A choice's outputs are summed, as in the published figures, so each choice is one row per test sample. All rows share one walk
over the updates: the gradients of the training samples, which cost most, are the same for every choice. Explained are the last
`study.outputs.width` updates of the window. The similarity of x and x' is the cosine of Σ_s Φ_s(x) ⊙ Σ_k φ_{s,k}, as in
`explaind.stages.window`; it needs no gradient of a training sample, so that it can have more tests than the kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from explaind.attribution.answer import answer
from explaind.attribution.plan import ROW_BYTES, make_plan
from explaind.attribution.problem import Problem, blocks, make_problem
from explaind.attribution.query import Query
from explaind.attribution.replay import certified
from explaind.attribution.reverse import StepRows, feature_rows
from explaind.config.declarations import Stage
from explaind.experiments.runs import open_run
from explaind.ledger import UpdateTerms
from explaind.runtime.durable import section
from explaind.stages.window import cosines
from explaind.store import write_dataset
from explaind.store.files import read_json
from explaind.store.precision import in_single_precision
from explaind.studies.choices import check_logits, summed

__all__ = ["write"]

STAGE = Stage(
    options=("study.outputs", "study.kernel.train"),
    without=("study.outputs.stride",),
    requires=("study.outputs", "study.windows", "study.kernel"),
    each="windows",
    memory=4000,
    runtime=120,
    gpu=True,
)


def write(
    config: Mapping[str, Any],
    *,
    trajectory: Path,
    certificate: Path,
    phases: Path,
    window: str,
    kernel: Path,
    similarity: Path,
) -> None:
    """Two stores "window": kernel (choice, layer, test, train) and similarity (choice, layer, test, test_other).

    Args:
        config: `study.outputs.{choices,module,tests,kernel_tests,width,tolerance,max_nodes,tail_tolerance}` and
            `study.kernel.train`.
        trajectory: the recorded run.
        certificate: of the run, in which every update was rebuilt.
        phases: JSON with the windows of this run.
        window: name of the window.
        kernel, similarity: the stores to write; the first has `initial`, `final` and `residual` of each choice's sums too.

    Raises:
        QueryError, ConfigError: the module does not exist, or its activation is not the logits.
    """
    run, experiment = open_run(trajectory)
    options = config["study"]["outputs"]
    check_logits(run, experiment, options["module"])
    choices, (_, stop) = options["choices"], read_json(phases)["windows"][window]
    start = stop - options["width"]
    query = Query(
        keep=("layer", "test", "output"),
        steps=slice(start, stop),
        groups=experiment.groups,
        target=summed(choices, options["module"]),
        tolerance=options["tolerance"],
        max_nodes=options["max_nodes"],
        tail_tolerance=options["tail_tolerance"],
    )

    def problem_of(count: int, asked: Query, **training: Any) -> Problem:
        tests = tuple(part[:count] for part in experiment.test)
        problem = make_problem(run, experiment.model, experiment.loss, asked, test=tests, **training)
        return certified(problem, certificate)

    attributes = {"window": [start, stop], "name": window}
    alike = _similarities(problem_of(options["tests"], query), choices)
    write_dataset(alike.assign_attrs(attributes), similarity, kind="window")
    with_train = replace(query, keep=("layer", "train", "test", "output"))
    problem = problem_of(options["kernel_tests"], with_train, train=experiment.training)
    dataset = answer(problem, make_plan(problem, timed=False))
    # One choice is one column, which the answer has without an axis of its own name.
    dataset = dataset.rename(output="choice").assign_coords(choice=list(choices)).drop_vars("quadrature")
    dataset = dataset.isel(train=slice(0, config["study"]["kernel"]["train"]))
    dataset = dataset.transpose("choice", "layer", "test", "train", ...).assign_attrs(attributes)
    write_dataset(in_single_precision(dataset), kernel, kind="window")


def _similarities(problem: Problem, choices: Sequence[str]) -> xr.Dataset:
    """Cosines [C, G, N, N] of all tests' scores, with the test samples' ids."""
    rows, terms = feature_rows(problem), UpdateTerms(problem.ledger)
    block = max(1, ROW_BYTES // (3 * problem.model.layout.size * problem.dtype.itemsize * problem.outputs))
    parts = [_scores(problem, tests, rows, terms) for tests in blocks(len(problem.test), block)]
    scores = torch.cat(parts)  # [N, C, D]
    matrices = [cosines(scores[:, column], problem.partition).cpu() for column in range(len(choices))]
    ids = range(len(problem.test))
    return xr.Dataset(
        {"similarity": (("choice", "layer", "test", "test_other"), torch.stack(matrices).float().numpy())},
        coords={"choice": list(choices), "layer": list(problem.partition.names), "test": ids},
    )


def _scores(problem: Problem, tests: slice, rows: Any, terms: UpdateTerms) -> Tensor:
    """Σ_s Φ_s ⊙ kernel term of u_s for a block of tests, [n, C, D]."""
    step_rows, kept = StepRows(problem, tests, rows), section("scores")
    total, done = kept.load() or (None, 0)
    for s in problem.steps[done:]:
        weighted = step_rows(s).phi * terms.at(s)[0]
        total = weighted if total is None else total.add_(weighted)
        done += 1
        kept.offer(lambda so_far=(total, done): so_far)
    kept.close(lambda: (total, done))
    return total
