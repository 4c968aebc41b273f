"""Tiny Llamas with a few AdamW updates, and what is done to their files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from explaind.checkpoints import Hyperparameters
from explaind.checkpoints.state import seal

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 19,
    "hidden_size": 16,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8,
    "rms_norm_eps": 1e-5,
    "initializer_range": 0.2,
    "tie_word_embeddings": False,
}
OTHER: dict[str, Any] = {  # heads wider than hidden_size / num_attention_heads
    **CONFIG,
    "vocab_size": 23,
    "hidden_size": 24,
    "intermediate_size": 28,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "attention_bias": False,
}
TIED = {**CONFIG, "tie_word_embeddings": True}
LR, BETAS, EPS, DECAY = 1e-2, (0.9, 0.95), 1e-8, 0.1


def make(config: Mapping[str, Any] = CONFIG, dtype: torch.dtype = torch.float32) -> nn.Module:
    """transformers' Llama with random parameters."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    wanted = {key: value for key, value in config.items() if key != "model_type"}
    return LlamaForCausalLM(LlamaConfig(**wanted)).to(dtype)


def adamw(model: nn.Module, *, named: bool = False) -> torch.optim.AdamW:
    """AdamW in two groups: vectors are not decayed."""
    groups: list[dict[str, Any]] = []
    for vectors, decay in ((False, DECAY), (True, 0.0)):
        some = [(name, p) for name, p in model.named_parameters() if (p.dim() < 2) == vectors]
        groups.append({"params": some if named else [p for _, p in some], "weight_decay": decay})
    return torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS)


def backward(model: nn.Module, seed: int, clip: float | None = 0.5) -> None:
    """The gradient of a random batch, clipped."""
    model.zero_grad()
    tokens = torch.randint(0, 19, (3, 8), generator=torch.Generator().manual_seed(seed))
    logits = model(input_ids=tokens).logits.float()
    nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    if clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, updates: int = 3) -> None:
    """Some updates."""
    for seed in range(updates):
        backward(model, seed)
        optimizer.step()


def options(model: nn.Module, step: int = 3) -> Hyperparameters:
    """Those of `adamw`."""
    undecayed = tuple(name for name, p in model.named_parameters() if p.dim() < 2)
    return Hyperparameters(step, LR, BETAS, EPS, DECAY, undecayed, 0.5)


def moments(model: nn.Module, optimizer: torch.optim.Optimizer, kind: str) -> dict[str, Tensor]:
    """One moment of every parameter, by name."""
    return {name: optimizer.state[p][kind].clone() for name, p in model.named_parameters()}


def tensors_in(path: Path) -> dict[str, Tensor]:
    """All of a safetensors file."""
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118


def edit(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the tensors of a file of one of our folders, whose digests are made right again."""
    tensors = tensors_in(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    state = path.parent / "state.json"
    if state.is_file():
        body = json.loads(state.read_text())
        found = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in body["hyperparameters"].items()
        }
        state.write_text(json.dumps(seal(path.parent, Hyperparameters(**found), tuple(body["files"]))))


def flip(path: Path, position: int = -2) -> None:
    """Damage one byte; the size stays."""
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1
    path.write_bytes(raw)


def cut(path: Path) -> None:
    """Leave out the last bytes."""
    path.write_bytes(path.read_bytes()[:-7])


def shard(folder: Path) -> list[str]:
    """Cut model.safetensors into two shards with an index; their names."""
    tensors = tensors_in(folder / "model.safetensors")
    names = list(tensors)
    parts = {"model-00001-of-00002.safetensors": names[:8], "model-00002-of-00002.safetensors": names[8:]}
    for part, some in parts.items():
        save_file({name: tensors[name] for name in some}, folder / part, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: part for part, some in parts.items() for name in some}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    return list(parts)
