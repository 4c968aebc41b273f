"""The definition of a single update's explanation (Remark F.3): slow, dense, float64. Fast paths are tested against it.

Notation: θ, m, v and the hyperparameters are those of a checkpoint, g_z the gradient of the part of the batch loss that belongs
to part z, u = −(Σ_z u_z + u_momentum + u_decay). Contributions are −∫_0^1 ∇L_l(θ + τu) · u_term dτ, by parameter, term and
held-out part l, with Gauss-Legendre nodes. The optimizers are written down as in textbooks, apart from the ledger. A
parameter that requires no gradient, or gets none, is not moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from explaind.checkpoints import GroupedHyperparameters, Hyperparameters
from explaind.checkpoints.options import Options

__all__ = ["ReferenceUpdate", "explain"]


@dataclass(frozen=True)
class ReferenceUpdate:
    """Everything at once.

    Attributes:
        scores: by parameter name, [Z + 2 terms (parts of the batch, momentum, decay), L held-out parts, *shape].
        change: of each held-out part's mean loss [L].
        end: θ + u by name.
    """

    scores: dict[str, Tensor]
    change: Tensor
    end: dict[str, Tensor]


def explain(
    model: nn.Module,
    moments: dict[str, tuple[Tensor, Tensor]],
    options: Hyperparameters | GroupedHyperparameters,
    losses: Callable[[nn.Module, Tensor], Tensor],
    train: Sequence[Tensor],
    heldout: Sequence[Tensor],
    nodes: int = 32,
) -> ReferenceUpdate:
    """Explain the update that AdamW, Adam or SGD makes of the parts of a batch.

    Args:
        model: at the checkpoint, in float64; it is left there.
        moments: name → (m, v); of SGD the momentum buffer and anything.
        options: hyperparameters of the update.
        losses: (model, samples) → the loss of each.
        train: the samples of each part of the batch, whose loss is the mean over all of them.
        heldout: the samples of each held-out part, whose loss is the mean over the part.
        nodes: of the Gauss-Legendre rule.
    """
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    count = sum(len(part) for part in train)
    parts = [_gradient(model, losses(model, part).sum() / count) for part in train]
    terms = _terms(start, moments, options, parts)
    total = {name: -sum(rows) for name, rows in terms.items()}
    rows = len(train) + 2
    scores = {
        name: torch.zeros(rows, len(heldout), *theta.shape, dtype=torch.float64)
        for name, theta in start.items()
    }
    at, weights = np.polynomial.legendre.leggauss(nodes)
    for tau, weight in zip((at + 1) / 2, weights / 2, strict=True):
        _place(model, start, total, float(tau))
        for index, samples in enumerate(heldout):
            for name, gradient in _gradient(model, losses(model, samples).mean()).items():
                for row, term in enumerate(terms.get(name, ())):
                    scores[name][row, index] -= float(weight) * gradient * term
    ends = []
    for tau in (0.0, 1.0):
        _place(model, start, total, tau)
        with torch.no_grad():
            ends.append(torch.stack([losses(model, samples).mean() for samples in heldout]))
    _place(model, start, total, 0.0)
    end = {name: theta + total.get(name, 0.0) for name, theta in start.items()}
    return ReferenceUpdate(scores, ends[1] - ends[0], end)


def _terms(
    start: dict[str, Tensor],
    moments: dict[str, tuple[Tensor, Tensor]],
    options: Hyperparameters | GroupedHyperparameters,
    parts: list[dict[str, Tensor]],
) -> dict[str, list[Tensor]]:
    """Name → [u_z …, u_momentum, u_decay], after clipping by the norm of the whole gradient; only of what is moved."""
    moved = [name for name in start if any(name in part for part in parts)]
    shares = {name: [part.get(name, torch.zeros_like(start[name])) for part in parts] for name in moved}
    norm = torch.cat([sum(shares[name]).flatten() for name in moved]).norm()
    clip = 1.0 if options.clip_norm is None else min(1.0, options.clip_norm / (float(norm) + 1e-6))
    terms = {}
    for name in moved:
        of_one = _sgd if options.of(name).optimizer == "SGD" else _adam
        terms[name] = of_one(options.of(name), start[name], *moments[name], [clip * g for g in shares[name]])
    return terms


def _adam(options: Options, theta: Tensor, m: Tensor, v: Tensor, parts: list[Tensor]) -> list[Tensor]:
    (first, second), t = options.betas, options.step + 1
    coupled = options.weight_decay if options.optimizer == "Adam" else 0.0
    entering = sum(parts) + coupled * theta
    new = second * v + (1 - second) * entering**2
    scale = options.lr / (1 - first**t) / ((new / (1 - second**t)).sqrt() + options.eps)
    decay = scale * (1 - first) * coupled * theta
    if options.optimizer == "AdamW":
        decay = options.lr * options.weight_decay * theta
    return [*(scale * (1 - first) * g for g in parts), scale * first * m, decay]


def _sgd(options: Options, theta: Tensor, m: Tensor, _: Tensor, parts: list[Tensor]) -> list[Tensor]:
    """What one unit of d = Σ_z g_z + λθ does, and what one unit of the buffer does."""
    mu = options.momentum
    kept = 1 - options.dampening if options.step else 1.0  # the first buffer is d itself
    if mu == 0:
        by_entering, by_buffer = 1.0, 0.0
    elif options.nesterov:
        by_entering, by_buffer = 1.0 + mu * kept, mu * mu
    else:
        by_entering, by_buffer = kept, mu
    decay = options.lr * by_entering * options.weight_decay * theta
    return [*(options.lr * by_entering * g for g in parts), options.lr * by_buffer * m, decay]


def _gradient(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    gradients = (
        torch.autograd.grad(loss, list(named.values()), allow_unused=True) if loss.requires_grad else ()
    )
    return {name: g for name, g in zip(named, gradients, strict=bool(gradients)) if g is not None}


@torch.no_grad()
def _place(model: nn.Module, start: dict[str, Tensor], total: dict[str, Tensor], tau: float) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(start[name] + tau * total.get(name, 0.0))
