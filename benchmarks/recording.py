"""What recording adds to a training step: plain and recorded training in turns, in one run."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path

from benchmarks.setting import configuration, show, train


def run(folder: Path, *, steps: int = 64, rounds: int = 5) -> None:
    """Ratio of recorded to plain training, pair by pair."""
    config = configuration()
    train(config, 8, None)
    rows, ratios = [], []
    for number in range(rounds):
        path = folder / f"recording-{number}.zarr"
        _, plain = train(config, steps, None)
        _, recorded = train(config, steps, path)
        shutil.rmtree(path)
        ratios.append(recorded / plain)
        rows.append((number, plain / steps * 1e3, recorded / steps * 1e3, ratios[-1]))
    rows.append(("median", "", "", statistics.median(ratios)))
    show(
        "recording: at most 1.2 × a plain step",
        ("round", "plain, ms a step", "recorded, ms a step", "ratio"),
        rows,
    )
