"""Data-resolved attribution against batch and training set: a step costs its batch, however large the set.

A step is credited to training samples by one product of the momentum adjoint with the gradients of its
batch. Target: seconds per step grow in proportion to the batch (equal ms per further sample, beside the cost
of the tests), and stay where the training set grows. The images are noise made in memory, since timing
depends on shapes only; the model is the one of MNIST. One thread, as the workflow's job runs.
"""

from __future__ import annotations

from pathlib import Path

import explaind
from benchmarks.setting import of_noise, record_batches, show, threads, timed, untraced
from explaind.config import compose

STEPS, TESTS, ROUNDS = 20, 4, 5
BATCHES, AT_SAMPLES = (32, 64, 128, 256), 4000
SAMPLES, AT_BATCH = (1000, 4000, 16000), 64


def run(folder: Path) -> None:
    """Two tables of seconds per step, the fastest of a few rounds, each round through all rows."""
    settings = [(batch, AT_SAMPLES) for batch in BATCHES] + [(AT_BATCH, samples) for samples in SAMPLES]
    with threads(1), untraced():
        calls = {setting: _prepared(folder, *setting) for setting in dict.fromkeys(settings)}
        seconds = dict.fromkeys(calls, float("inf"))
        for _ in range(ROUNDS):
            for setting, call in calls.items():
                seconds[setting] = min(seconds[setting], timed(call)[1] / STEPS)
    rows, before = [], None
    for batch in BATCHES:
        here = seconds[batch, AT_SAMPLES]
        more = "" if before is None else (here - before[1]) / (batch - before[0]) * 1e3
        rows.append((batch, here, here / batch * 1e3, more))
        before = (batch, here)
    show(
        f"influence on {TESTS} tests by batch, {AT_SAMPLES:,} training samples: proportional",
        ("batch", "s per step", "ms per sample of the batch", "ms per further sample"),
        rows,
    )
    first = seconds[AT_BATCH, SAMPLES[0]]
    show(
        f"influence on {TESTS} tests by training set, batch of {AT_BATCH}: constant",
        ("training samples", "s per step", "ratio to the smallest"),
        [(samples, seconds[AT_BATCH, samples], seconds[AT_BATCH, samples] / first) for samples in SAMPLES],
    )


def _prepared(folder: Path, batch: int, samples: int):
    """A call of `influence` on a recorded run; one node everywhere, so that rows differ in batches only."""
    config = compose("mnist", "paper", (f"train.batch={batch}", "train.drop_last=true"))
    experiment = of_noise(config, samples, TESTS)
    path = folder / f"{batch}-{samples}.zarr"
    record_batches(config, experiment, path, STEPS)
    return lambda: explaind.influence(
        path,
        experiment.model,
        experiment.loss,
        train=experiment.training,
        test=experiment.test,
        keep=("train", "test"),
        nodes=1,
        tolerance=1e3,  # of the quadrature, which is not the question
    )
