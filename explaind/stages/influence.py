"""Influence of each layer on every test sample and output, over a range of updates (figure 3a, table 1, completeness)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from explaind.attribution.part import make_part
from explaind.config.declarations import Stage
from explaind.experiments.runs import open_run
from explaind.store import write_dataset

__all__ = ["write"]

STAGE = Stage(
    options=("influence",),
    requires="study.quadrature | study.windows",
    each="parts",
    memory=3000,
    runtime=120,
    gpu=True,
    priority=5,
)


def write(
    config: Mapping[str, Any],
    *,
    trajectory: Path,
    certificate: Path | None,
    start: int,
    stop: int,
    output: Path,
    tests_from: int = 0,
    tests_to: int | None = None,
) -> None:
    """Layer influences of the updates [start, stop) on test samples and all outputs, as a store "influence-part".

    Signed influences are summed over the part's updates; importances are kept per update. A part beyond the end of the
    run is written as an empty one.

    Args:
        config: `influence.{tolerance,max_nodes,tests,groups,block}`.
        trajectory: the recorded run.
        certificate: of the run, in which every update was rebuilt; None: each update is checked by the gradient it implies.
        start, stop: the range of updates; cut at the end of the run.
        output: the store to write.
        tests_from, tests_to: the range of test samples [tests_from, tests_to), which begins and ends between blocks of
            `influence.block`; None: to the last of `influence.tests`.
    """
    run, experiment = open_run(trajectory)
    options = config["influence"]
    tests = (tests_from, options["tests"] if tests_to is None else tests_to)
    stop = min(stop, run.n_steps)
    if start < stop:
        part = make_part(run, experiment, certificate, options, steps=(start, stop), tests=tests)
    else:
        part = xr.Dataset(attrs={"start": start, "stop": start})
    part.attrs |= {
        "updates": run.n_steps,
        "tests": options["tests"],
        "block": options["block"],
        "tests_from": tests[0],
        "tests_to": tests[1],
    }
    write_dataset(part, output, kind="influence-part")
