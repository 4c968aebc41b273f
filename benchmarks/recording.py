"""What recording adds to a training step: plain and recorded training in turns, in one run."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path
from typing import Any

from benchmarks.setting import configuration, show, train

KINDS: dict[str, dict[str, Any]] = {
    "all": {},
    "replay, 8": {"keep": "replay", "every": 8},
    "replay, 32": {"keep": "replay", "every": 32},
}


def run(folder: Path, *, steps: int = 64, rounds: int = 5) -> None:
    """Ratio of recorded to plain training, round by round, by what is kept."""
    config = configuration()
    train(config, 8, None)
    rows: list[tuple[object, ...]] = []
    ratios: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(rounds):
        _, plain = train(config, steps, None)
        for kind, how in KINDS.items():
            path = folder / f"recording-{number}.zarr"
            _, recorded = train(config, steps, path, **how)
            shutil.rmtree(path)
            ratios[kind].append(recorded / plain)
        rows.append((number, plain / steps * 1e3, *(each[-1] for each in ratios.values())))
    rows.append(("median", "", *(statistics.median(each) for each in ratios.values())))
    show(
        "recording: at most 1.15 × a plain step, at most 1.1 × with keep='replay'",
        ("round", "plain, ms a step", *(f"kept {kind}: ratio" for kind in KINDS)),
        rows,
    )
