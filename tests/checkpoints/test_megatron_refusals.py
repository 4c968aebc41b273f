"""Fused state that is not of the model, and hyperparameters that cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from explaind.checkpoints import open_checkpoint
from explaind.errors import StoreError
from tests.checkpoints.made import CONFIG, OTHER, cut
from tests.checkpoints.made_megatron import flat, hyperparameters, made_up, opened, weights

NORM = "decoder.layers.1.self_attention.linear_qkv.layer_norm_weight"


def refused(tmp_path: Path, tensors: dict[str, Tensor], *words: str) -> None:
    with pytest.raises(StoreError) as caught:
        opened(tmp_path, tensors)
    for word in words:
        assert word in str(caught.value)


def test_tensors_that_do_not_fit(tmp_path: Path) -> None:
    right = flat(made_up(CONFIG), CONFIG)
    gone = {name: tensor for name, tensor in right.items() if name != f"exp_avg_sq.{NORM}"}
    refused(tmp_path, gone, "optimizer.safetensors", f"exp_avg_sq.{NORM}", "does not hold")
    refused(tmp_path, right | {"exp_avg.extra": torch.ones(1)}, "does not have", "exp_avg.extra")
    both = right | {"exp_avg.decoder.layers.1.input_layernorm.weight": torch.ones(16)}
    refused(tmp_path, both, "does not have", "input_layernorm")
    refused(tmp_path, right | {f"exp_avg.{NORM}": torch.ones(17)}, "another shape", NORM, "(17,)")
    refused(tmp_path, right | {f"exp_avg.{NORM}": torch.ones(16).half()}, "dtype", NORM, "float16")
    output = "exp_avg.output_layer.weight"
    refused(tmp_path, right | {output: torch.ones(18, 16)}, "another shape", output)
    refused(tmp_path, right | {output: torch.ones(20, 16)}, "different numbers of rows", output)
    refused(tmp_path, flat(made_up(OTHER), OTHER), "optimizer.safetensors")


def test_a_truncated_file(tmp_path: Path) -> None:
    opened(tmp_path, flat(made_up(CONFIG), CONFIG))
    cut(tmp_path / "optimizer.safetensors")
    with pytest.raises(StoreError, match="optimizer.safetensors.*embedding.*damaged or truncated"):
        open_checkpoint(tmp_path / "weights", optimizer=tmp_path, format="megatron")


def test_a_negative_second_moment_is_found_by_verify(tmp_path: Path) -> None:
    tensors = flat(made_up(CONFIG), CONFIG)
    tensors["exp_avg_sq.decoder.final_layernorm.weight"][2] = -1
    checkpoint = opened(tmp_path, tensors)
    with pytest.raises(
        StoreError, match="exp_avg_sq.model.norm.weight of .*optimizer.safetensors is negative"
    ):
        checkpoint.verify()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lr": None}, "The hyperparameter lr is missing"),
        ({"beta": 1}, "unknown hyperparameter"),
        ({"betas": [0.9, 2]}, "betas has no meaning"),
        (
            {"undecayed": ["decoder.final_layernorm.weight"]},
            "undecayed parameter that the model does not have",
        ),
        ({"qkv": "mixed"}, "no such order"),
    ],
)
def test_hyperparameters_that_do_not_fit(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    hyperparameters(tmp_path, **change)
    refused(tmp_path, flat(made_up(CONFIG), CONFIG), words)


def test_no_hyperparameters(tmp_path: Path) -> None:
    weights(tmp_path / "weights", CONFIG)
    save_file(flat(made_up(CONFIG), CONFIG), tmp_path / "optimizer.safetensors")
    with pytest.raises(StoreError, match="hyperparameters.json is missing"):
        open_checkpoint(tmp_path / "weights", optimizer=tmp_path, format="megatron")
    (tmp_path / "hyperparameters.json").write_text("[]")
    with pytest.raises(StoreError, match="holds no hyperparameters"):
        open_checkpoint(tmp_path / "weights", optimizer=tmp_path, format="megatron")
