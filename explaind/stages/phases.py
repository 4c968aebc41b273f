"""Find the steps of memorisation and generalisation, and place the windows by them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from explaind.config.declarations import Stage
from explaind.store.files import read_json, write_json
from explaind.training.phases import windows

__all__ = ["write"]

STAGE = Stage(options=("study.windows",), requires="study.windows", memory=1000, runtime=5, priority=9)


def write(config: Mapping[str, Any], *, summary: Path, output: Path) -> None:
    """Write the run's phases as JSON.

    Args:
        config: resolved configuration; read is `study.windows`.
        summary: JSON of the recorded run.
        output: JSON to write: `steps`, `memorization_step`, `generalization_step`, `stop_step` and
            `windows`: name -> [start, stop).
    """
    run = read_json(summary)
    keys = ("seed", "steps", "memorization_step", "generalization_step", "stop_step")
    phases = {key: run[key] for key in keys}
    write_json({**phases, "windows": {k: list(w) for k, w in windows(config, run).items()}}, output)
