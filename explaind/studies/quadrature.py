"""Validation: predictions rebuilt with a fixed number of integration nodes at every update, as in table 1 of the paper.

f_{θ_0}(x) + Σ_s (1/n) Σ_i ∇f(θ_s + t_i u_s)·u_s with the midpoints t_i. All groups and terms together are the one tangent u_s.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from explaind.attribution.problem import blocks, make_problem
from explaind.attribution.query import Query
from explaind.config.declarations import Stage
from explaind.experiments.runs import open_run
from explaind.features.quadrature import fixed
from explaind.features.tangents import GroupTangents
from explaind.runtime.durable import section
from explaind.runtime.progress import track
from explaind.store import write_dataset

__all__ = ["write"]

STAGE = Stage(
    options=("study.quadrature",),
    requires="study.quadrature",
    each="nodes",
    memory=3000,
    runtime=480,
    gpu=True,
    priority=5,
)

BLOCK = 512  # test samples per pass over the steps


def write(config: Mapping[str, Any], *, trajectory: Path, nodes: int, output: Path) -> None:
    """Rebuild the predictions of the first test samples with `nodes` midpoint nodes per update, as a store "quadrature".

    Args:
        config: `study.quadrature.{nodes,tests}`: how many test samples each node count explains.
        trajectory: the recorded run.
        nodes: midpoint nodes per update.
        output: the store to write: predicted and final (test, output), attributes nodes, nodes_mean, steps.
    """
    run, experiment = open_run(trajectory)
    options = config["study"]["quadrature"]
    count = dict(zip(options["nodes"], options["tests"], strict=True))[nodes]
    tests = tuple(part[:count] for part in experiment.test)
    query = Query(keep=("test", "output"), nodes=nodes)
    problem = make_problem(run, experiment.model, experiment.loss, query, test=tests)
    tangents = GroupTangents(problem.value, problem.partition)
    kept = section("predictions")
    #: Of the blocks of test samples before, and of the present one after so many updates.
    predicted, final, total, done = kept.load() or ([], [], None, 0)
    parts = blocks(len(problem.test), BLOCK)
    with track(None, total=len(parts) * len(problem.steps), description=f"{nodes} nodes", unit="step") as bar:
        for part in parts[len(predicted) :]:
            x, y = problem.test.take(part)
            if total is None:
                total = problem.values(0, x, y).double()
            for s in problem.steps[done:]:
                theta, update = problem.ledger.parameters(s), problem.ledger.update(s)

                def evaluate(
                    t: float, index: Tensor | None, theta=theta, update=update, x=x, y=y
                ) -> list[Tensor]:
                    return tangents(torch.add(theta, update, alpha=t), update[None], x, y)

                unknown = torch.zeros_like(total, dtype=problem.dtype)
                total += (
                    fixed(evaluate, lambda integrals: integrals[0][0], unknown, nodes).parts[0][0].double()
                )
                bar.advance()
                done += 1
                kept.offer(lambda so_far=(predicted, final, total, done): so_far)
            predicted.append(total)
            final.append(problem.values(run.n_steps, x, y).double())
            total, done = None, 0
    dataset = xr.Dataset(
        {
            "predicted": (("test", "output"), torch.cat(predicted).cpu().numpy()),
            "final": (("test", "output"), torch.cat(final).cpu().numpy()),
        },
        attrs={
            "nodes": nodes,
            "nodes_mean": float(nodes),
            "steps": run.n_steps,
        },
    )
    write_dataset(dataset, output, kind="quadrature")
