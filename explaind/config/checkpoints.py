"""Names and steps of the checkpoints that an experiment explains, without torch: the workflow makes one job of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from explaind.errors import ConfigError

__all__ = ["checkpoint_name", "checkpoint_names", "checkpoint_steps"]


def checkpoint_name(step: int) -> str:
    """Of the checkpoint that our own training keeps after `step` updates."""
    return f"step-{step:06d}"


def checkpoint_steps(config: Mapping[str, Any]) -> list[int]:
    """The numbers of updates after which our own training keeps a checkpoint: evenly spaced, the last at the end."""
    train = config["train"]
    return [train["steps"] * (k + 1) // train["checkpoints"] for k in range(train["checkpoints"])]


def checkpoint_names(config: Mapping[str, Any]) -> list[str]:
    """All checkpoints, in the order of training: those of a folder by the numbers in their names.

    Args:
        config: `checkpoints.{source,folder,revisions}`: "trained" here, a "folder" with one sub-folder each, or revisions of
            a "hub".

    Raises:
        ConfigError: the folder holds no checkpoint.
    """
    chosen = config["checkpoints"]
    if chosen["source"] == "trained":
        return [checkpoint_name(step) for step in checkpoint_steps(config)]
    if chosen["source"] == "hub":
        return list(chosen["revisions"])
    folders = (path.name for path in Path(chosen["folder"]).glob("*") if (path / "config.json").is_file())
    names = sorted(
        folders, key=lambda name: [(not part.isdigit(), part.zfill(20)) for part in re.split(r"(\d+)", name)]
    )
    if not names:
        raise ConfigError(
            "There are no checkpoints to explain.",
            expected=f"folders with a config.json in {chosen['folder']}",
            got="none",
            remedy="Correct checkpoints.folder.",
        )
    return names
