"""The updates between two checkpoints go on bit by bit from where their job was killed."""

from __future__ import annotations

from pathlib import Path

from explaind.config.checkpoints import checkpoint_names
from explaind.stages import explain_interval, pretrain
from tests.runtime.attempts import FIRST, check_resumes
from tests.updates.small_run import configuration, write_tokens


def test_an_interval(tmp_path: Path, monkeypatch) -> None:
    config = configuration("train.steps=6")
    tokens, folder = write_tokens(tmp_path / "tokens.zarr"), tmp_path / "checkpoints"
    pretrain.write(
        config,
        tokens=tokens,
        checkpoints=folder,
        metrics=tmp_path / "m.csv",
        losses=tmp_path / "l.csv",
    )
    given = {"tokens": tokens, "checkpoints": folder, "checkpoint": checkpoint_names(config)[-2]}
    check_resumes(
        lambda at: explain_interval.write(config, **given, output=at / FIRST), tmp_path / "w", monkeypatch
    )
