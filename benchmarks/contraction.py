"""Per-sample gradients times few rows: by gradients and by Jacobian-vector products, and which of them the plan chooses.

One batch of each experiment, after it has been traced. The counts in `explaind.attribution.directional` are fitted to this.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

import explaind
from benchmarks.setting import configuration, of_noise, record_batches, show, threads, timed, train
from explaind.attribution.contraction import Credits
from explaind.attribution.directional import Directional, cheaper
from explaind.attribution.problem import make_problem
from explaind.attribution.query import Query

ROWS = (1, 4, 16, 64)
REPEATS = 3


def run(folder: Path) -> None:
    """Seconds of both for each model, groups and number of rows; with one thread."""
    with threads(1):
        for name in ("grokking", "mnist", "cifar2"):
            path = folder / f"{name}.zarr"
            if name == "grokking":
                experiment, _ = train(configuration(), 2, path)
            else:
                config = explaind.config.compose(name, "default")
                experiment = of_noise(config, 512, 8)
                record_batches(config, experiment, path, 2)
            rows = [
                row for groups in ("all", experiment.groups) for row in _compare(path, experiment, groups)
            ]
            columns = ("groups", "rows", "gradients, s", "products, s", "gradients / products", "chosen")
            show(f"{name}: one batch", columns, rows)


def _compare(path: Path, experiment, groups) -> list[tuple]:
    query = Query(keep=("layer", "train", "test"), groups=groups, steps=slice(0, 1))
    test = tuple(part[:8] for part in experiment.test)
    problem = make_problem(
        path, experiment.model, experiment.loss, query, train=experiment.training, test=test
    )
    rows = []
    for count in ROWS:
        vectors = torch.randn(count, problem.model.layout.size, dtype=problem.dtype)
        seconds = []
        for directional in (None, Directional(problem)):
            credits = Credits(problem, count, per_sample=True, directional=directional)
            once = partial(credits.batch, 0, vectors, 1.0)
            for _ in range(9 if len(experiment.train[0]) < 1000 else 1):
                once()
            seconds.append(min(timed(once)[1] for _ in range(REPEATS)))
        chosen = "products" if cheaper(problem, count) else "gradients"
        rows.append((len(problem.partition), count, *seconds, seconds[0] / seconds[1], chosen))
    return rows
