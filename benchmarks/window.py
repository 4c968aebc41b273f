"""The test × train kernel of all layers over a window, against its matrix products alone, in one run."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.setting import configuration, show, timed, train
from explaind.attribution.answer import answer
from explaind.attribution.plan import make_plan
from explaind.attribution.problem import make_problem
from explaind.attribution.query import Query


def run(folder: Path, *, steps: int = 5, before: int = 20) -> None:
    """2,000 tests × 4,000 training samples, `steps` updates after `before` others whose momentum reaches in."""
    config = configuration()
    path = folder / "window.zarr"
    experiment, _ = train(config, before + steps, path)
    query = Query(
        keep=("layer", "train", "test"),
        groups=experiment.groups,
        steps=slice(before, before + steps),
        tolerance=0.1,  # of rows that sum 115 outputs, as in the study
        tail_tolerance=1e-5,
    )
    problem = make_problem(
        path, experiment.model, experiment.loss, query, train=experiment.train, test=experiment.test
    )
    plan = make_plan(problem, timed=False)
    found, seconds = timed(lambda: answer(problem, plan))
    products = (steps + 1) * _products(
        problem, plan.block, 256
    )  # one more for the tail, which is summed first
    replay, peak = float(abs(found.replay).max()), plan.peak_bytes / 1e9
    rows = [(f"{steps} updates + tail of {before}", seconds, products, seconds / products, peak, replay)]
    columns = ("window", "kernel, s", "its products alone, s", "ratio", "planned peak, GB", "worst replay")
    show("kernel of 2,000 × 4,000 samples, six layers: at most 2 × its products", columns, rows)


def _products(problem, block: int, batch: int) -> float:
    """Seconds of one update's products: rows × D by D × samples, cut as the kernel cuts them."""
    size, dtype = problem.model.layout.size, problem.dtype
    rows, gradients = torch.rand(block, size, dtype=dtype), torch.rand(batch, size, dtype=dtype)
    parts = [problem.partition.index(g) for g in range(len(problem.partition))]
    calls = -(-len(problem.test) // block) * -(-len(problem.gradients.train) // batch)

    def once() -> None:
        for part in parts:
            gradients[:, part] @ rows[:, part].T

    once()
    return timed(lambda: [once() for _ in range(calls)])[1]
