"""Cost against steps, tests and training samples: three curves, each linear (equal cost per unit)."""

from __future__ import annotations

from pathlib import Path

from benchmarks.setting import configuration, show, timed, train
from explaind.attribution.answer import answer
from explaind.attribution.plan import make_plan
from explaind.attribution.problem import make_problem
from explaind.attribution.query import Query
from explaind.features import batched

LAYERS, KERNEL = ("layer", "test", "output"), ("layer", "train", "test")


def run(folder: Path) -> None:
    """Doubling each axis; the cost per unit should stay as it is. Without tracing, whose cost is fixed, not per unit."""
    batched.PLAIN_CALLS = 1 << 60
    config = configuration()
    path = folder / "scaling.zarr"
    experiment, _ = train(config, 64, path)

    def seconds(keep: tuple[str, ...], steps: int, tests: int) -> float:
        query = Query(
            keep=keep, groups=experiment.groups, steps=slice(32, 32 + steps), nodes=1, tail_tolerance=1.0
        )
        some = tuple(part[:tests] for part in experiment.test)
        problem = make_problem(
            path, experiment.model, experiment.loss, query, train=experiment.train, test=some
        )
        plan = make_plan(problem, timed=False)
        answer(problem.with_query(steps=slice(32, 33)), plan)  # traces once
        return timed(lambda: answer(problem, plan))[1]

    curves = {
        "steps": [(n, seconds(LAYERS, n, 1000)) for n in (4, 8, 16, 32)],
        "tests": [(n, seconds(LAYERS, 8, n)) for n in (250, 500, 1000, 2000)],
        "train samples × 1 update": [(n, _kernel(config, folder, n)) for n in (1000, 2000, 4000)],
    }
    for name, points in curves.items():
        rows = [(n, s, s / n * 1e3) for n, s in points]
        show(f"cost against {name}", (name, "s", "ms per unit"), rows)


def _kernel(config: dict, folder: Path, samples: int) -> float:
    """One update's 250-test kernel with a training set of this size."""
    smaller = {**config, "data": {**config["data"], "train": samples}}
    path = folder / f"scaling-{samples}.zarr"
    experiment, _ = train(smaller, 3, path)
    query = Query(keep=KERNEL, groups=experiment.groups, steps=slice(1, 2), nodes=1, tail_tolerance=1.0)
    some = tuple(part[:250] for part in experiment.test)
    problem = make_problem(path, experiment.model, experiment.loss, query, train=experiment.train, test=some)
    plan = make_plan(problem, timed=False)
    answer(problem, plan)
    return timed(lambda: answer(problem, plan))[1]
