"""Small networks in float64 with optimizers of every kind, and updates as torch makes them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from explaind.checkpoints import TrainingState

EXACT: dict[str, Any] = {
    "relative_tolerance": 1e-13,
    "min_nodes": 7,
    "max_nodes": 27,
    "samples_per_pass": 3,
}


class Network(nn.Module):
    """Three inputs, one output; `spare` is used by no loss."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(4, 4)
        self.last = nn.Linear(4, 1)
        self.spare = nn.Parameter(torch.ones(2))
        self.scale = nn.Parameter(torch.tensor(1.3))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(inputs))
        return self.scale * self.last(torch.tanh(self.second(hidden)))[:, 0]


def losses(model: nn.Module, samples: Tensor) -> Tensor:
    """The squared error of the last column."""
    return (model(samples[:, :3]) - samples[:, 3]).square()


def samples(count: int, seed: int) -> Tensor:
    """Inputs and targets side by side [count, 4]."""
    return torch.randn(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


TRAIN, HELDOUT = samples(7, 1), samples(5, 2)


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.3, betas=(0.8, 0.95))


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.02, weight_decay=0.3, betas=(0.8, 0.95))


def adam_groups(model: nn.Module) -> torch.optim.Optimizer:
    """Groups that differ in everything, decay of both kinds among it."""
    groups = [
        {"params": model.first.parameters(), "lr": 0.05, "weight_decay": 0.2},
        {"params": model.second.parameters(), "betas": (0.5, 0.9), "decoupled_weight_decay": True},
        {"params": [*model.last.parameters(), model.spare, model.scale], "eps": 1e-3, "weight_decay": 0.0},
    ]
    return torch.optim.Adam(groups, lr=0.02, weight_decay=0.3, betas=(0.8, 0.95))


def sgd(**options: Any) -> Callable[[nn.Module], torch.optim.Optimizer]:
    return lambda model: torch.optim.SGD(model.parameters(), lr=0.1, **options)


def sgd_groups(model: nn.Module) -> torch.optim.Optimizer:
    """Momentum, dampening and Nesterov each in some groups; a tensor as learning rate."""
    groups = [
        {"params": model.first.parameters(), "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.2},
        {"params": model.second.parameters(), "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        {"params": [*model.last.parameters(), model.spare, model.scale], "lr": torch.tensor(0.03)},
    ]
    return torch.optim.SGD(groups, lr=0.1)


OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "AdamW": adamw,
    "Adam": adam,
    "Adam in groups": adam_groups,
    "SGD": sgd(),
    "SGD with decay": sgd(weight_decay=0.2),
    "SGD with momentum": sgd(momentum=0.9, weight_decay=0.2),
    "SGD with dampening": sgd(momentum=0.9, dampening=0.4, weight_decay=0.2),
    "SGD with Nesterov": sgd(momentum=0.9, nesterov=True, weight_decay=0.2),
    "SGD in groups": sgd_groups,
}


def torch_update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Tensor,
    clip: float | None = None,
    losses: Callable[[nn.Module, Tensor], Tensor] = losses,
) -> None:
    """One update as a user's loop makes it."""
    optimizer.zero_grad()
    losses(model, batch).mean().backward()
    if clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()


def trained(
    make: Callable[[nn.Module], torch.optim.Optimizer], updates: int, clip: float | None = None
) -> tuple[Network, torch.optim.Optimizer, TrainingState]:
    """A network after some updates, and its state."""
    torch.manual_seed(0)
    model = Network().double()
    optimizer = make(model)
    for step in range(updates):
        torch_update(model, optimizer, samples(6, 100 + step), clip)
    return model, optimizer, TrainingState(model, optimizer, clip_norm=clip)


def copied(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Both, to go on with."""
    return copy.deepcopy((model, optimizer))


def moments(state: TrainingState) -> dict[str, tuple[Tensor, Tensor]]:
    """As the definition takes them."""
    return {name: (state.exp_avg(name), state.exp_avg_sq(name)) for name in state.names()}
