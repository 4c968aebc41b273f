"""A tiny Llama in float64 with moments that training gave it, as a checkpoint in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from explaind.checkpoints import Hyperparameters
from explaind.experiments.eurollm.model import describe, llama_config, make_llama, sequence_losses
from explaind.features.units import Units, make_units

SHAPE = {
    "vocabulary": 23,
    "width": 16,
    "hidden": 20,
    "layers": 2,
    "heads": 4,
    "key_value_heads": 2,
    "rope_theta": 10000.0,
    "rms_norm_eps": 1e-5,
    "initializer_range": 0.2,
}
CONFIG: dict[str, Any] = llama_config(SHAPE, 8)


@dataclass
class InMemory:
    """What the explainer reads of a checkpoint."""

    name: str
    config: dict[str, Any]
    hyperparameters: Hyperparameters
    weights: dict[str, Tensor]
    moments: dict[str, tuple[Tensor, Tensor]]

    def names(self) -> tuple[str, ...]:
        return tuple(self.weights)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.weights[name].shape)

    def weight(self, name: str) -> Tensor:
        return self.weights[name].clone()

    def exp_avg(self, name: str) -> Tensor:
        return self.moments[name][0].clone()

    def exp_avg_sq(self, name: str) -> Tensor:
        return self.moments[name][1].clone()

    @torch.no_grad()
    def load_weights(self, model: nn.Module) -> None:
        for name, parameter in model.named_parameters():
            parameter.copy_(self.weights[name])


def tokens(count: int, seed: int) -> Tensor:
    """Sequences [count, 8]."""
    return torch.randint(0, SHAPE["vocabulary"], (count, 8), generator=torch.Generator().manual_seed(seed))


def make(
    updates: int = 3, *, clip: float | None = 0.5, lr: float = 1e-2
) -> tuple[InMemory, nn.Module, torch.optim.AdamW]:
    """A checkpoint after some of torch's own updates, its model, and the optimizer that would go on."""
    torch.manual_seed(0)
    model = make_llama(CONFIG).double()
    undecayed = tuple(name for name, p in model.named_parameters() if p.dim() < 2)
    named = dict(model.named_parameters())
    groups = [
        {"params": [p for name, p in named.items() if name not in undecayed], "weight_decay": 0.1},
        {"params": [named[name] for name in undecayed], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), eps=1e-8)
    for step in range(updates):
        torch_update(model, optimizer, tokens(5, 100 + step), clip)
    moments = {
        name: tuple(optimizer.state[p][key].clone() for key in ("exp_avg", "exp_avg_sq"))
        if updates
        else (torch.zeros_like(p),) * 2
        for name, p in named.items()
    }
    options = Hyperparameters(
        step=updates,
        lr=lr,
        betas=(0.9, 0.95),
        eps=1e-8,
        weight_decay=0.1,
        undecayed=undecayed,
        clip_norm=clip,
    )
    weights = {name: p.detach().clone() for name, p in named.items()}
    return InMemory("tiny", CONFIG, options, weights, moments), model, optimizer


def torch_update(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: Tensor, clip: float | None
) -> None:
    """One update as a user's loop makes it."""
    optimizer.zero_grad()
    sequence_losses(model, batch).mean().backward()
    if clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()


def units_of(model: nn.Module) -> Units:
    """Attention by head, everything else by tensor."""
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    return make_units(shapes, lambda name, shape: describe(CONFIG, name, shape))
