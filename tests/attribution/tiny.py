"""Tiny recorded runs in float64 that the algorithms and the reference decomposition can both afford."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import explaind
from explaind.recording.trajectory import Trajectory
from explaind.reference.recordings import ReferenceTensors, decompose, model_value


class Net(nn.Module):
    """Two linear maps around a smooth non-linearity, so that few quadrature nodes reach rounding."""

    def __init__(self, inputs: int = 3, hidden: int = 4, classes: int = 3) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.second = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)))


@dataclass
class Run:
    """A recorded run with everything needed to explain it again."""

    path: Path
    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    batches: list[list[int]]

    @property
    def trajectory(self) -> Trajectory:
        return Trajectory(self.path)

    def sample_gradients(self, theta: dict[str, Tensor], s: int) -> dict[int, Tensor]:
        """g_{s,k} by autograd, from the difference that scaling one sample's output cotangent makes: one by one."""
        trajectory = self.trajectory
        found: dict[int, Tensor] = {}
        for batch in trajectory.step(s).batches:
            index = batch.indices
            x, y = self.train[0][index], self.train[1][index]
            leaves = {n: v.clone().requires_grad_() for n, v in theta.items()}
            outputs = torch.func.functional_call(self.model, leaves, (x,))
            scale = 1.0 if batch.weights is None else batch.weights
            if isinstance(scale, Tensor):
                loss = sum(w * self.loss(outputs[i : i + 1], y[i : i + 1]) for i, w in enumerate(scale))
            else:
                loss = scale * self.loss(outputs, y)
            (delta,) = torch.autograd.grad(loss, outputs, retain_graph=True)
            for position, k in enumerate(index.tolist()):
                one = (outputs[position] * delta[position].detach()).sum()
                parts = torch.autograd.grad(one, list(leaves.values()), retain_graph=True, allow_unused=True)
                flat = torch.cat(
                    [
                        torch.zeros_like(v).flatten() if p is None else p.to_dense().flatten()
                        for p, v in zip(parts, leaves.values(), strict=True)
                    ]
                )
                found[k] = found.get(k, 0) + flat
        return found

    def reference(self, value: Callable | None = None, **window: Any) -> ReferenceTensors:
        value = value or model_value(self.model, self.test[0])
        return decompose(
            self.trajectory, self.model, self.sample_gradients, value, train=len(self.train[0]), **window
        )


def make_data(seed: int = 0, train: int = 7, test: int = 3, dtype: torch.dtype = torch.float64):
    """Inputs and labels of a tiny classification problem."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(train + test, 3, generator=generator, dtype=torch.float64).to(dtype)
    y = torch.randint(0, 3, (train + test,), generator=generator)
    return (x[:train], y[:train]), (x[train:], y[train:])


def record_run(
    path: Path,
    make_optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    *,
    steps: int = 5,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    batches: list[list[int]] | None = None,
    clip: float | None = None,
    schedule: Callable[[torch.optim.Optimizer], Any] | None = None,
    model: nn.Module | None = None,
    dtype: torch.dtype = torch.float64,
    before: Callable[[nn.Module, torch.optim.Optimizer], None] | None = None,
    seed: int = 0,
) -> Run:
    """Train a tiny net and record it."""
    torch.manual_seed(seed)
    model = (Net() if model is None else model).to(dtype)
    train, test = make_data(seed, dtype=dtype)
    optimizer = make_optimizer(model)
    if before is not None:
        before(model, optimizer)
    scheduler = schedule(optimizer) if schedule else None
    batches = batches or [list(range(len(train[0])))] * steps
    with explaind.record(path, model, optimizer, chunk_steps=2) as run:
        for index in batches:
            optimizer.zero_grad()
            loss(model(train[0][index]), train[1][index]).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            run.batch(index)
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
    return Run(path, model, loss, train, test, batches)
