"""Megatron's fused state: split is the inverse of fuse, and the rows lie where Megatron puts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from explaind.checkpoints import Checkpoint, open_checkpoint
from explaind.checkpoints.fused import fuse, layout
from explaind.checkpoints.llama import parameter_shapes
from tests.checkpoints.conftest import Trained
from tests.checkpoints.made import CONFIG, OTHER, TIED, options
from tests.checkpoints.made_megatron import flat, hyperparameters, made_up, opened, weights


def assert_same(checkpoint: Checkpoint, moments: dict[str, dict[str, Tensor]]) -> None:
    for name in checkpoint.names():
        assert torch.equal(checkpoint.exp_avg(name), moments["exp_avg"][name])
        assert torch.equal(checkpoint.exp_avg_sq(name), moments["exp_avg_sq"][name])
        assert checkpoint.exp_avg(name).is_contiguous()
    checkpoint.verify()


@pytest.mark.parametrize("config", [CONFIG, OTHER, TIED], ids=["small", "larger", "tied"])
@pytest.mark.parametrize("qkv", ["grouped", "stacked"])
def test_fuse_then_split_is_nothing(tmp_path: Path, config: dict[str, Any], qkv: str) -> None:
    moments = made_up(config)
    hyperparameters(tmp_path, qkv=qkv)
    checkpoint = opened(tmp_path, flat(moments, config, qkv=qkv), config)
    assert_same(checkpoint, moments)
    assert checkpoint.hyperparameters.step == 7
    assert checkpoint.hyperparameters.undecayed == ("model.norm.weight",)
    assert checkpoint.notes == ()


def test_rows_of_linear_qkv_by_hand(tmp_path: Path) -> None:
    """4 query heads of 4 rows, 2 key-value heads: q0 q1 k0 v0 q2 q3 k1 v1."""
    tensors = flat(made_up(CONFIG), CONFIG)
    fused = torch.arange(32.0)[:, None].expand(32, 16).contiguous()  # every entry is its row
    tensors["exp_avg.decoder.layers.0.self_attention.linear_qkv.weight"] = fused
    checkpoint = opened(tmp_path, tensors)
    q, k, v = (checkpoint.exp_avg(f"model.layers.0.self_attn.{part}_proj.weight") for part in "qkv")
    assert q[:, 0].tolist() == [*range(8), *range(16, 24)]
    assert k[:, 0].tolist() == [*range(8, 12), *range(24, 28)]
    assert v[:, 0].tolist() == [*range(12, 16), *range(28, 32)]


def test_gate_and_up_by_hand(tmp_path: Path) -> None:
    tensors = flat(made_up(CONFIG), CONFIG)
    tensors["exp_avg_sq.decoder.layers.1.mlp.linear_fc1.weight"] = torch.arange(40.0)[:, None].repeat(1, 16)
    checkpoint = opened(tmp_path, tensors)
    assert checkpoint.exp_avg_sq("model.layers.1.mlp.gate_proj.weight")[:, 3].tolist() == list(range(20))
    assert checkpoint.exp_avg_sq("model.layers.1.mlp.up_proj.weight")[:, 3].tolist() == list(range(20, 40))


def test_every_parameter_lies_in_one_fused_tensor() -> None:
    parts = [part for fused in layout(OTHER) for part in fused.parts]
    assert sorted(parts) == sorted(parameter_shapes(OTHER))


def test_norms_under_their_unfused_names(tmp_path: Path) -> None:
    moments, renamed = made_up(CONFIG), {}
    for name, tensor in flat(moments, CONFIG).items():
        name = name.replace("self_attention.linear_qkv.layer_norm_weight", "input_layernorm.weight")
        renamed[name.replace("mlp.linear_fc1.layer_norm_weight", "pre_mlp_layernorm.weight")] = tensor
    assert_same(opened(tmp_path, renamed), moments)


def test_padding_of_the_vocabulary_is_cut_and_noted(tmp_path: Path) -> None:
    moments = made_up(CONFIG)
    checkpoint = opened(tmp_path, flat(moments, CONFIG, vocabulary_rows=32))
    assert_same(checkpoint, moments)
    assert "32 rows for a vocabulary of 19: the last 13" in checkpoint.notes[0]


@pytest.mark.parametrize("nested", [False, True])
def test_torch_files(tmp_path: Path, nested: bool) -> None:
    moments = made_up(CONFIG)
    fused: Any = flat(moments, CONFIG)
    if nested:
        fused = {kind: fuse(some, CONFIG) for kind, some in moments.items()}
    weights(tmp_path / "weights", CONFIG)
    hyperparameters(tmp_path)
    torch.save(fused, tmp_path / "optimizer.pt")
    assert_same(open_checkpoint(tmp_path / "weights", optimizer=tmp_path, format="megatron"), moments)


def test_the_explained_weights_may_be_of_another_source(trained: Trained, tmp_path: Path) -> None:
    moments = made_up(CONFIG)
    content = options(trained[0]).as_json()
    hyperparameters(tmp_path, **content)
    save_file(flat(moments, CONFIG), tmp_path / "optimizer.safetensors")
    checkpoint = open_checkpoint(
        trained[2], optimizer=tmp_path / "optimizer.safetensors", format="megatron", name="x"
    )
    assert checkpoint.name == "x"
    assert checkpoint.hyperparameters == options(trained[0])
