"""Cost against updates, tests, training samples and parameters, with exponents: time ∝ n^exponent, fitted to each curve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

import explaind
from benchmarks.setting import configuration, show, timed, train, untraced
from explaind.attribution.answer import answer
from explaind.attribution.plan import make_plan
from explaind.attribution.problem import make_problem
from explaind.attribution.query import Query

LAYERS, KERNEL = ("layer", "test", "output"), ("layer", "train", "test")
WIDTHS = (32, 128, 512, 1024)  # of a network with 2 hidden layers: 10 thousand to 1.8 million parameters
Point = tuple[int, float, float]
"""n, seconds, planned megabytes."""


def run(folder: Path) -> None:
    """Each axis over a factor of 8 and more, without tracing, whose cost is fixed. Linear is an exponent of 1."""
    with untraced():
        curves = {
            "updates": [(n, *_layers(folder, n, 1000)) for n in (4, 8, 16, 32)],
            "tests": [(n, *_layers(folder, 8, n)) for n in (250, 500, 1000, 2000)],
            "training samples, kernel of 250 tests": [_kernel(folder, n) for n in (500, 1000, 2000, 4000)],
            "parameters, layers": [_network(folder, width, LAYERS) for width in WIDTHS],
            "parameters, kernel": [_network(folder, width, KERNEL) for width in WIDTHS],
        }
    rows = []
    for name, points in curves.items():
        (first, low, small), (last, high, large) = points[0], points[-1]
        exponent = np.polyfit(*np.log([[n, s] for n, s, _ in points]).T, 1)[0]
        rows.append((name, f"{first:,} to {last:,}", low, high, float(exponent), small, large))
    columns = ("n", "range", "s, first", "s, last", "exponent", "planned MB, first", "last")
    show("scaling", columns, rows)


def _layers(folder: Path, steps: int, tests: int) -> tuple[float, float]:
    """Figure 3a's decomposition of some updates of the modulo Transformer."""
    path = folder / "scaling.zarr"
    experiment, _ = train(configuration(), 64, path, overwrite=True)
    query = Query(
        keep=LAYERS, groups=experiment.groups, steps=slice(32, 32 + steps), nodes=1, tail_tolerance=0.5
    )
    some = tuple(part[:tests] for part in experiment.test)
    return _answered(path, experiment.model, experiment.loss, query, experiment.train, some)


def _kernel(folder: Path, samples: int) -> Point:
    """One update's kernel with a training set of this size."""
    config = configuration()
    path = folder / f"scaling-{samples}.zarr"
    experiment, _ = train({**config, "data": {**config["data"], "train": samples}}, 3, path)
    query = Query(keep=KERNEL, groups=experiment.groups, steps=slice(1, 2), nodes=1, tail_tolerance=0.5)
    some = tuple(part[:250] for part in experiment.test)
    return samples, *_answered(path, experiment.model, experiment.loss, query, experiment.train, some)


def _network(folder: Path, width: int, keep: tuple[str, ...]) -> Point:
    """Four updates of a network of this width on random numbers, 64 tests, 256 training samples."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(256, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 10)
    )
    x, y = torch.randn(320, 256), torch.randint(10, (320,))
    optimizer, loss = torch.optim.AdamW(model.parameters()), nn.CrossEntropyLoss()
    path = folder / f"network-{width}-{len(keep)}-{keep[1]}.zarr"
    with explaind.record(path, model, optimizer) as recorder:
        for _ in range(4):
            optimizer.zero_grad()
            loss(model(x[:256]), y[:256]).backward()
            recorder.batch(range(256))
            optimizer.step()
    query = Query(keep=keep, nodes=1, tail_tolerance=0.5)
    seconds, megabytes = _answered(path, model, loss, query, (x[:256], y[:256]), (x[256:], y[256:]))
    return sum(p.numel() for p in model.parameters()), seconds, megabytes


def _answered(path: Path, model, loss, query: Query, training, tests) -> tuple[float, float]:
    """Seconds of the second answer, and what its plan says of memory."""
    problem = make_problem(path, model, loss, query, train=training, test=tests)
    plan = make_plan(problem, timed=False)
    answer(problem, plan)
    return timed(lambda: answer(problem, plan))[1], plan.peak_bytes / 1e6
