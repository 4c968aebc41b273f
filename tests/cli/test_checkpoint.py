"""`explaind checkpoint`: what it prints of a good checkpoint, and that a damaged one ends in a sentence and status 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from explaind.checkpoints.checkpoint import FORMATS
from explaind.cli import arguments, main
from explaind.experiments.language.pretraining import load
from explaind.training.pretraining import Trainer
from tests.updates.small_run import configuration, write_tokens


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "200")
    config = configuration()
    trainer = Trainer(config, load(config, write_tokens(tmp_path / "tokens.zarr")))
    trainer.step()
    trainer.save(tmp_path / "step-1")
    return tmp_path / "step-1"


def test_a_good_checkpoint(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["checkpoint", str(folder)]) == 0
    shown = capsys.readouterr().out
    for words in (
        "step-1, every file and tensor",
        "betas 0.9 and 0.95",
        "not of 5 tensors",
        "gradient norm 1",
    ):
        assert words in shown


def test_a_damaged_checkpoint(folder: Path, capsys: pytest.CaptureFixture) -> None:
    path = folder / "optimizer.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 64
    path.write_bytes(raw)
    assert main(["checkpoint", str(folder)]) == 2
    assert "optimizer.safetensors" in capsys.readouterr().err
    assert main(["checkpoint", str(folder / "missing")]) == 2
    assert main(["checkpoint", str(folder), "--format", "torch"]) == 2


def test_the_formats_are_those_that_can_be_read() -> None:
    assert arguments.FORMATS == FORMATS
