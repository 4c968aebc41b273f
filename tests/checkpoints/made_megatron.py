"""Made-up fused state of Megatron on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from explaind.checkpoints import Checkpoint, open_checkpoint
from explaind.checkpoints.fused import fuse
from explaind.checkpoints.llama import parameter_shapes
from tests.checkpoints.made import CONFIG


def made_up(config: dict[str, Any]) -> dict[str, dict[str, Tensor]]:
    """Random moments by kind and name."""
    torch.manual_seed(1)
    shapes = parameter_shapes(config)
    return {
        kind: {name: torch.rand(shape) for name, shape in shapes.items()}
        for kind in ("exp_avg", "exp_avg_sq")
    }


def weights(folder: Path, config: dict[str, Any]) -> Path:
    """A folder of weights without any optimizer."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file(
        {name: torch.rand(shape) for name, shape in parameter_shapes(config).items()},
        folder / "model.safetensors",
    )
    return folder


def hyperparameters(folder: Path, **change: Any) -> None:
    """hyperparameters.json as a user writes it; None leaves a field out."""
    content = {
        "step": 7,
        "lr": 1e-3,
        "betas": [0.9, 0.95],
        "eps": 1e-8,
        "weight_decay": 0.1,
        "undecayed": ["model.norm.weight"],
        "clip_norm": 1.0,
    } | change
    kept = {key: value for key, value in content.items() if value is not None}
    (folder / "hyperparameters.json").write_text(json.dumps(kept))


def flat(moments: dict[str, dict[str, Tensor]], config: dict[str, Any], **how: Any) -> dict[str, Tensor]:
    """Fused moments under the names of one file; `how` as of `fuse`."""
    return {
        f"{kind}.{name}": tensor
        for kind, some in moments.items()
        for name, tensor in fuse(some, config, **how).items()
    }


def opened(tmp_path: Path, tensors: dict[str, Tensor], config: dict[str, Any] = CONFIG) -> Checkpoint:
    """A checkpoint whose state is these tensors."""
    if not (tmp_path / "weights").exists():
        weights(tmp_path / "weights", config)
    if not (tmp_path / "hyperparameters.json").exists():
        hyperparameters(tmp_path)
    save_file(tensors, tmp_path / "optimizer.safetensors")
    return open_checkpoint(tmp_path / "weights", optimizer=tmp_path, format="megatron")
