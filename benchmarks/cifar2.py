"""CIFAR-2's data-resolved attribution keeps rows × parameters, never samples × parameters: peak at most 4 GB.

Gradients of all training samples at once would need 90.8 GB at the paper's size. What is planned comes from
`explaind.plan` on two recorded updates with noise for images, as memory depends on shapes only; what was
measured comes from the workflow's own run.
"""

from __future__ import annotations

import json
from pathlib import Path

import explaind
from benchmarks.setting import of_noise, record_batches, show
from explaind.config import compose
from explaind.recording.trajectory import Trajectory

FLOAT, MEBIBYTE = 4, 1 << 20


def run(folder: Path, results: Path = Path("results")) -> None:
    """The plan at both scales; then the peak of the workflow's job, if it ran here."""
    columns = (
        "scale",
        "parameters",
        "training samples",
        "tests × outputs",
        "rows at once",
        "planned peak, GB",
        "samples × parameters, GB",
    )
    rows = [_planned(folder, scale) for scale in ("default", "paper")]
    show("CIFAR-2, every training sample: planned peak beside model and samples", columns, rows)
    job = results / "benchmarks/cifar2/attribution.jsonl"
    if not job.exists():
        print(
            f"cifar2: no {job} here; run `snakemake --cores 2 --config experiment=cifar2 -- figures` first."
        )
        return
    entries = [json.loads(line) for line in job.read_text().splitlines()]
    size = Trajectory(results / "cifar2/trajectory.zarr").layout.size
    show(
        "the workflow's job, whole process: at most 4 GB",
        ("parameters", "s", "peak, GB"),
        [(f"{size:,}", float(e["s"]), float(e["max_rss"]) * MEBIBYTE / 1e9) for e in entries],
    )


def _planned(folder: Path, scale: str) -> tuple:
    config = compose("cifar2", scale)
    options = config["study"]["attribution"]
    experiment = of_noise(config, config["data"]["train"], options["tests"])
    path = folder / f"cifar2-{scale}.zarr"
    record_batches(config, experiment, path, 2)
    plan = explaind.plan(
        path,
        experiment.model,
        experiment.loss,
        train=experiment.training,
        test=experiment.test,
        keep=("train", "test", "output"),
        tolerance=options["tolerance"],
        max_nodes=options["max_nodes"],
        tail_tolerance=options["tail_tolerance"],
    )
    size, samples = Trajectory(path).layout.size, len(experiment.train[1])
    return (
        scale,
        f"{size:,}",
        f"{samples:,}",
        f"{plan.tests} × {experiment.classes}",
        plan.block * experiment.classes,
        plan.peak_bytes / 1e9,
        samples * size * FLOAT / 1e9,
    )
