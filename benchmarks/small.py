"""Disk and time of small recordings: every state kept, or one in 8 or 32 updates and those between made again."""

from __future__ import annotations

import statistics
from pathlib import Path

import explaind
from benchmarks.setting import configuration, show, timed, train

KINDS = {
    "all": {},
    "replay, 8": {"keep": "replay", "every": 8},
    "replay, 32": {"keep": "replay", "every": 32},
}


def run(folder: Path, *, steps: int = 128, rounds: int = 3, batch: int = 256, tests: int = 16) -> None:
    """Training, verifying and explaining the same run, recorded in three ways, in turns."""
    config = configuration()
    train(config, 8, None, batch=batch)
    seconds: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
    sizes = {}
    for number in range(rounds):
        for kind, how in KINDS.items():
            path = folder / f"{kind}-{number}.zarr"
            experiment, trained = train(config, steps, path, batch=batch, **how)
            sizes[kind] = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6
            model, loss, samples = experiment.model, experiment.loss, experiment.train
            _, verified = timed(lambda p=path, a=(model, loss), x=samples: explaind.verify(p, *a, train=x))
            few = tuple(part[:tests] for part in experiment.test)
            _, explained = timed(
                lambda p=path, a=(model, loss), x=samples, y=few: explaind.influence(p, *a, train=x, test=y)
            )
            seconds[kind].append([trained / steps * 1e3, verified, explained])
    rows = [
        (kind, sizes[kind], *(statistics.median(column) for column in zip(*each, strict=True)))
        for kind, each in seconds.items()
    ]
    show(
        f"small recordings: {steps} updates of {batch} samples, {tests} explained samples, median of {rounds}",
        ("kept", "disk, MB", "training, ms a step", "verify, s", "influence, s"),
        rows,
    )
