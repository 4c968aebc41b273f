"""MNIST's whole data-level attribution beside dattri's TRAK and TracIn: at most 2 minutes on two cores.

5,120 training samples × 500 tests × 10 outputs over all updates of the recorded run, as the workflow
attributes it. The others give one number per training and test sample; they are timed as the workflow calls
them, on the same run, one after the other. All with one thread, as the workflow's jobs run.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

import explaind
from benchmarks.setting import show, threads, timed
from explaind.config import compose
from explaind.experiments.runs import open_run
from explaind.studies.baseline import score

METHODS = ("trak", "tracin")


def run(folder: Path, results: Path = Path("results")) -> None:
    """Seconds of each, and what they give for them."""
    path = results / "mnist/trajectory.zarr"
    if not path.exists():
        print(f"mnist: no {path} here; run `snakemake --cores 2 --config experiment=mnist -- figures` first.")
        return
    study = compose("mnist", "default")["study"]
    options = study["attribution"]
    recorded, experiment = open_run(path)
    tests = options["tests"]

    def attribute():
        return explaind.influence(
            recorded,
            experiment.model,
            experiment.loss,
            train=experiment.training,
            test=tuple(part[:tests] for part in experiment.test),
            keep=("train", "test", "output"),
            tolerance=options["tolerance"],
            max_nodes=options["max_nodes"],
            tail_tolerance=options["tail_tolerance"],
        )

    with threads(1):
        found, ours = timed(attribute)
    worst = float(abs(found.residual).max())
    rows = [_row("explaind", ours, ours, found.kernel.shape, f"{worst:.2g}")]
    del found
    for method in METHODS:
        with threads(1):
            scores, seconds = timed(partial(score, recorded, experiment, method, tests, study["datamodel"]))
        rows.append(_row(method, seconds, ours, tuple(scores.shape), "no sum to compare with"))
    show(
        f"MNIST, {recorded.n_steps} updates, one thread: at most 120 s",
        (
            "method",
            "s",
            "explaind's time / this",
            "shape of the answer",
            "µs per number",
            "largest |residual| of the whole",
        ),
        rows,
    )


def _row(method: str, seconds: float, ours: float, shape: tuple[int, ...], residual: str) -> tuple:
    numbers = torch.Size(shape).numel()
    return (method, seconds, ours / seconds, " × ".join(map(str, shape)), seconds / numbers * 1e6, residual)
