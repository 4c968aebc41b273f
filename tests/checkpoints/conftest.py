"""A trained model, written once as one of our own folders; tests copy what they damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from explaind.checkpoints import write_checkpoint
from tests.checkpoints.made import CONFIG, adamw, make, options, train

Trained = tuple[nn.Module, torch.optim.AdamW, Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Model, optimizer, and the folder of their checkpoint after three updates; not to be changed."""
    model = make()
    optimizer = adamw(model)
    train(model, optimizer)
    folder = tmp_path_factory.mktemp("made") / "step-000003"
    write_checkpoint(folder, model, optimizer, options(model), CONFIG)
    return model, optimizer, folder


@pytest.fixture
def folder(trained: Trained, tmp_path: Path) -> Path:
    """A copy of the checkpoint's folder, to damage."""
    return Path(shutil.copytree(trained[2], tmp_path / "step-000003"))
