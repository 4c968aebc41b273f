"""Small training runs the recording tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from explaind.attribution.record import record
from explaind.recording import Recorder

INPUTS = torch.randn(40, 5, generator=torch.Generator().manual_seed(1))
TARGETS = torch.randint(3, (40,), generator=torch.Generator().manual_seed(2))


def mlp(dtype: torch.dtype = torch.float32) -> nn.Module:
    """A seeded two-layer network."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).to(dtype)


def flat(model: nn.Module) -> Tensor:
    """A copy of all parameters [D]."""
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()]).clone()


def optimizer_state(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Every tensor the optimizer remembers, in a fixed order."""
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return [
        value
        for parameter in held
        for _, value in sorted(optimizer.state[parameter].items())
        if isinstance(value, Tensor)
    ]


@dataclass
class Run:
    """A training loop as a user would write it, and what an onlooker saw: θ_0 … θ_T and v_1 … v_T."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    clip: float | None = None
    schedule: Callable[[int], float] | None = None
    accumulate: int = 1
    size: int = 6
    thetas: list[Tensor] = field(default_factory=list)
    moments: list[Tensor] = field(default_factory=list)
    indices: list[Tensor] = field(default_factory=list)

    def train(self, steps: int, recorder: Recorder | None = None, start: int = 0) -> Run:
        base = [group["lr"] for group in self.optimizer.param_groups]
        self.thetas.append(flat(self.model))
        for step in range(start, steps):
            if self.schedule is not None:
                for group, lr in zip(self.optimizer.param_groups, base, strict=True):
                    group["lr"] = lr * self.schedule(step)
            self.optimizer.zero_grad()
            for _ in range(self.accumulate):
                # With replacement, from the global generator; every fourth batch is ragged.
                indices = torch.randint(len(INPUTS), (self.size - (step % 4 == 3),))
                dtype = next(self.model.parameters()).dtype
                loss = cross_entropy(self.model(INPUTS[indices].to(dtype)), TARGETS[indices])
                (loss / self.accumulate).backward()
                self.indices.append(indices)
                if recorder is not None:
                    recorder.batch(indices, None if self.accumulate == 1 else 1 / self.accumulate)
                    recorder.log(loss=loss)
            if self.clip is not None:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
            self.optimizer.step()
            self.thetas.append(flat(self.model))
            self.moments.append(self._second_moment())
        return self

    def _second_moment(self) -> Tensor:
        states = [self.optimizer.state[p] for p in self.model.parameters()]
        return torch.cat(
            [state["exp_avg_sq"].reshape(-1) for state in states if "exp_avg_sq" in state] or [INPUTS]
        )


def trained(
    path: Path | None,
    steps: int = 10,
    *,
    optimizer: str = "AdamW",
    options: dict[str, Any] | None = None,
    **run: Any,
) -> Run:
    """Train the small network, recorded into `path` if one is given (chunks of 4 updates)."""
    model = mlp()
    made = getattr(torch.optim, optimizer)(model.parameters(), **{"lr": 0.05, **(options or {})})
    torch.manual_seed(7)
    with record(path, model, made, chunk_steps=4, config={"seed": 7}) if path else nullcontext() as recorder:
        return Run(model, made, **run).train(steps, recorder)


def store_files(path: Path) -> Iterator[Path]:
    """Every file of a store that holds something."""
    return (file for file in sorted(path.rglob("*")) if file.is_file() and file.stat().st_size)
