"""Recorded runs of experiments."""

from __future__ import annotations

from pathlib import Path

from explaind.experiments.build import load
from explaind.experiments.experiment import Experiment
from explaind.recording.trajectory import Trajectory

__all__ = ["open_run"]


def open_run(trajectory: Path) -> tuple[Trajectory, Experiment]:
    """The recorded run and the experiment it belongs to, rebuilt from the run's own configuration and the data beside it."""
    run = Trajectory(trajectory)
    return run, load({**run.config, "files": {"data": Path(trajectory).with_name("data.zarr")}})
