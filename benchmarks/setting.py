"""The full-size modulo Transformer, a short recorded run of it, and a table printer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import explaind
from explaind.config import compose
from explaind.experiments import Experiment, load, make_optimizer

SEED = 1


def configuration() -> dict[str, Any]:
    """The grokking experiment as published."""
    return compose("grokking", "paper", ())


def train(config: dict[str, Any], steps: int, path: Path | None) -> tuple[Experiment, float]:
    """Full-batch training for a number of updates, recorded if a path is given; the seconds of the loop alone."""
    experiment = load(config, seed=SEED)
    optimizer = make_optimizer(config, experiment.model)
    inputs, targets = experiment.train
    everyone = range(len(inputs))
    recorder = explaind.record(path, experiment.model, optimizer) if path else nullcontext()
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
