"""Optimizers that torch does not have, as users write or install them: Lion, Signum and LAMB."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Lion(Optimizer):
    """Chen et al. 2023, algorithm 2."""

    def __init__(
        self, params: Iterable[Tensor], lr: float = 1e-2, betas: Any = (0.9, 0.99), weight_decay: float = 0.0
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            one, two = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_((one * m + (1 - one) * p.grad).sign(), alpha=group["lr"])
                m.mul_(two).add_(p.grad, alpha=1 - two)


class Signum(Optimizer):
    """Bernstein et al. 2018: the sign of the momentum, or of the gradient."""

    def __init__(
        self, params: Iterable[Tensor], lr: float = 1e-2, momentum: float = 0.0, weight_decay: float = 0.0
    ):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                direction = p.grad
                if group["momentum"]:
                    m = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                    direction = m.mul_(group["momentum"]).add_(p.grad, alpha=1 - group["momentum"])
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(direction.sign(), alpha=group["lr"])


class Lamb(Optimizer):
    """You et al. 2020, algorithm 2, with bias correction and clipping by the global norm of its own."""

    def __init__(self, params: Iterable[Tensor], max_grad_norm: float | None = None, **options: Any):
        given = {"lr": 1e-2, "betas": (0.9, 0.999), "eps": 1e-6, "weight_decay": 0.1, **options}
        super().__init__(params, {"bias_correction": True, "max_grad_norm": max_grad_norm, **given})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        every = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
        for group in self.param_groups:
            group["step"] = group.get("step", torch.zeros(())) + 1
            t, (one, two), limit = int(group["step"]), group["betas"], group["max_grad_norm"]
            scale = 1.0 if limit is None else min(1.0, limit / float(torch.cat(every).norm()))
            for p in group["params"]:
                state = self.state[p]
                m = state.setdefault("exp_avg", torch.zeros_like(p))
                v = state.setdefault("exp_avg_sq", torch.zeros_like(p))
                m.mul_(one).add_(p.grad, alpha=scale * (1 - one))
                v.mul_(two).add_((scale * p.grad) ** 2, alpha=1 - two)
                direction = m / (1 - one**t) / ((v / (1 - two**t)).sqrt() + group["eps"])
                direction = direction + group["weight_decay"] * p
                weights, moves = p.norm(), direction.norm()
                trust = float(weights / moves) if weights > 0 and moves > 0 else 1.0
                p.sub_(direction, alpha=group["lr"] * trust)
