"""Influence of each layer on every test sample and output, over a range of updates (figure 3a, table 1, completeness)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import xarray as xr

from explaind.attribution.answer import answer_views
from explaind.attribution.plan import make_plan
from explaind.attribution.problem import make_problem
from explaind.attribution.query import Query
from explaind.attribution.replay import certified
from explaind.config.declarations import Stage
from explaind.experiments.runs import open_run
from explaind.runtime.allocator import keep_memory
from explaind.store import write_dataset
from explaind.store.precision import in_single_precision

__all__ = ["write"]

STAGE = Stage(
    options=("influence",),
    requires="study.quadrature | study.windows",
    each="parts",
    memory=3000,
    runtime=120,
    gpu=True,
)


def write(
    config: Mapping[str, Any],
    *,
    trajectory: Path,
    certificate: Path | None,
    start: int,
    stop: int,
    output: Path,
) -> None:
    """Layer influences of the updates [start, stop) on test samples and all outputs, as a store "influence-part".

    Signed influences are summed over the part's updates; importances are kept per update. A part beyond the end of the
    run is written as an empty one.

    Args:
        config: `influence.{tolerance,max_nodes,tests,groups}`.
        trajectory: the recorded run.
        certificate: of the run, in which every update was rebuilt; None: each update is checked by the gradient it implies.
        start, stop: the range of updates; cut at the end of the run.
        output: the store to write.
    """
    keep_memory()
    run, experiment = open_run(trajectory)
    stop = min(stop, run.n_steps)
    if start >= stop:
        empty = xr.Dataset(attrs={"start": start, "stop": start})
        write_dataset(empty, output, kind="influence-part")
        return
    options = config["influence"]
    query = Query(
        keep=("layer", "test", "output"),
        steps=slice(start, stop),
        groups=experiment.groups if options["groups"] == "layer" else {"all": ["*"]},
        tolerance=options["tolerance"],
        max_nodes=options["max_nodes"],
    )
    tests = tuple(part[: options["tests"]] for part in experiment.test)
    problem = certified(make_problem(run, experiment.model, experiment.loss, query, test=tests), certificate)
    importance = replace(query, keep=("step", "layer"), importance=("test", "output"))
    answers = answer_views(
        problem, make_plan(problem, timed=False), {"signed": query, "importance": importance}
    )
    dataset = answers["signed"].drop_vars(["quadrature", "replay", "replay_bound"])
    for name in ("kernel", "regularization"):
        for level in ("", "_all"):
            dataset[f"importance_{name}{level}"] = answers["importance"][f"{name}{level}"]
    dataset.attrs["updates"] = run.n_steps
    write_dataset(in_single_precision(dataset), output, kind="influence-part")
