"""The full-size modulo Transformer, image models on noise, short recorded runs, and a table printer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import explaind
from explaind.config import compose
from explaind.experiments.build import load, make_optimizer
from explaind.experiments.cifar2.model import ResNet9
from explaind.experiments.experiment import Experiment, parameters_by_layer, seeded
from explaind.experiments.images import mirrored
from explaind.experiments.likelihood import negative_log_likelihood
from explaind.experiments.mnist.model import DigitNet
from explaind.features import batched
from explaind.training.loop import train_rows

SEED = 1


def configuration() -> dict[str, Any]:
    """The grokking experiment as published."""
    return compose("grokking", "paper", ())


def train(
    config: dict[str, Any], steps: int, path: Path | None, *, batch: int | None = None, **how: Any
) -> tuple[Experiment, float]:
    """Training on the first `batch` samples (all by default) for a number of updates, recorded if a path is given, `how` as of
    `explaind.record`; the seconds of the loop alone."""
    experiment = load(config, seed=SEED)
    optimizer = make_optimizer(config, experiment.model)
    inputs, targets = (part[:batch] for part in experiment.train)
    everyone = range(len(inputs))
    recorder = explaind.record(path, experiment.model, optimizer, **how) if path else nullcontext()
    with recorder as run:
        begin = time.perf_counter()
        for _ in range(steps):
            optimizer.zero_grad()
            experiment.loss(experiment.model(inputs), targets).backward()
            if run is not None:
                run.batch(everyone)
            optimizer.step()
        seconds = time.perf_counter() - begin
    return experiment, seconds


def of_noise(config: dict[str, Any], train: int, tests: int) -> Experiment:
    """An image experiment on random pixels and labels: time and memory depend on shapes only."""
    shape = config["model"]
    if config["name"] == "mnist":
        pixels, classes = (1, 28, 28), 10
        make = seeded(lambda: DigitNet(channels=shape["channels"], hidden=shape["hidden"]))
    else:
        pixels, classes = (3, 32, 32), 2
        make = seeded(lambda: ResNet9(width=shape["width"], classes=classes))
    generator = torch.Generator().manual_seed(SEED)
    inputs = torch.randn(train + tests, *pixels, generator=generator)
    labels = torch.randint(classes, (train + tests,), generator=generator)
    model = make(SEED)
    first, rest = (inputs[:train], labels[:train]), (inputs[train:], labels[train:])
    view = mirrored if config["train"]["flip"] == "horizontal" else None
    return Experiment(
        config["name"], SEED, make, model, negative_log_likelihood, first, rest,
        parameters_by_layer(model), first[1], rest[1], classes, view=view,
    )  # fmt: skip


def record_batches(config: dict[str, Any], experiment: Experiment, path: Path, steps: int) -> None:
    """Train on mini-batches for a number of updates, as the experiment is recorded."""
    optimizer = make_optimizer(config, experiment.model)
    with explaind.record(path, experiment.model, optimizer) as run:
        for _ in train_rows(experiment, optimizer, {**config["train"], "max_steps": steps}, run):
            pass


@contextmanager
def threads(count: int) -> Iterator[None]:
    """With this number of torch threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def untraced() -> Iterator[None]:
    """Without tracing, whose cost is fixed, not per unit."""
    before, batched.PLAIN_CALLS = batched.PLAIN_CALLS, 1 << 60
    try:
        yield
    finally:
        batched.PLAIN_CALLS = before


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Result and seconds of one call."""
    begin = time.perf_counter()
    result = function()
    return result, time.perf_counter() - begin


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print one table."""
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    Console(width=130).print(table)
