"""The definition of a single update's explanation (Remark F.3), literally: slow, dense, float64. All fast paths are held to it.

Notation as in `explaind.updates.terms`: θ, m, v and the hyperparameters are those of a checkpoint, g_z the gradient of the part
of the batch loss that belongs to part z, u = −(Σ_z u_z + u_momentum + u_decay). Contributions are −∫_0^1 ∇L_l(θ + τu) · u_term
dτ, by parameter, term and held-out part l, with Gauss-Legendre nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from explaind.checkpoints import Hyperparameters

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
    options: Hyperparameters,
    losses: Callable[[nn.Module, Tensor], Tensor],
    train: Sequence[Tensor],
    heldout: Sequence[Tensor],
    nodes: int = 32,
) -> ReferenceUpdate:
    """Explain the update that AdamW makes of the parts of a batch.

    Args:
        model: at the checkpoint, in float64; it is left there.
        moments: name → (m, v).
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
    scores = {
        name: torch.zeros(len(terms[name]), len(heldout), *start[name].shape, dtype=torch.float64)
        for name in start
    }
    at, weights = np.polynomial.legendre.leggauss(nodes)
    for tau, weight in zip((at + 1) / 2, weights / 2, strict=True):
        _place(model, start, total, float(tau))
        for index, samples in enumerate(heldout):
            for name, gradient in _gradient(model, losses(model, samples).mean()).items():
                for row, term in enumerate(terms[name]):
                    scores[name][row, index] -= float(weight) * gradient * term
    ends = []
    for tau in (0.0, 1.0):
        _place(model, start, total, tau)
        with torch.no_grad():
            ends.append(torch.stack([losses(model, samples).mean() for samples in heldout]))
    _place(model, start, total, 0.0)
    return ReferenceUpdate(scores, ends[1] - ends[0], {name: start[name] + total[name] for name in start})


def _terms(
    start: dict[str, Tensor],
    moments: dict[str, tuple[Tensor, Tensor]],
    options: Hyperparameters,
    parts: list[dict[str, Tensor]],
) -> dict[str, list[Tensor]]:
    """Name → [u_z …, u_momentum, u_decay], after clipping by the norm of the whole gradient."""
    whole = {name: sum(part[name] for part in parts) for name in start}
    norm = torch.cat([gradient.flatten() for gradient in whole.values()]).norm()
    clip = 1.0 if options.clip_norm is None else min(1.0, options.clip_norm / (float(norm) + 1e-6))
    (first, second), t = options.betas, options.step + 1
    found = {}
    for name, (m, v) in moments.items():
        new = second * v + (1 - second) * (clip * whole[name]) ** 2
        preconditioner = 1 / ((new / (1 - second**t)).sqrt() + options.eps)
        scale = options.lr / (1 - first**t) * preconditioner
        found[name] = [
            *(scale * (1 - first) * clip * part[name] for part in parts),
            scale * first * m,
            options.lr * options.decay(name) * start[name],
        ]
    return found


def _gradient(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


@torch.no_grad()
def _place(model: nn.Module, start: dict[str, Tensor], total: dict[str, Tensor], tau: float) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(start[name] + tau * total[name])
