"""Which part of a batch changes the loss of which part of the held-out samples, such as training language → held-out language.

Notation: z are the parts of the batch (Z of them), l those of the held-out samples, g_z the gradient of the batch loss
restricted to z, so that Σ_z g_z = g. The update is linear in its batch's gradient once P is fixed, P being that of the whole
batch:

    score[z, l] = −∫ ∇L_l(θ(τ)) · u_z dτ,     u_z = (ρκ + σ) P c g_z,     L_l the mean loss of l

Rows u_z are held for a chunk of the parameters at a time, as many as the memory allows; every chunk repeats the backward
passes, which cost those of one batch and, per node, of the held-out samples. Gradients of several held-out parts are multiplied
with the rows at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from explaind.checkpoints import Checkpoint
from explaind.runtime.progress import track
from explaind.updates.batch import compute_update, prepared
from explaind.updates.checks import check_samples_per_pass
from explaind.updates.chunks import Chunk, chunks, trained_alone
from explaind.updates.path import Losses, add_gradient, measure
from explaind.updates.terms import Update

__all__ = ["CrossInfluence", "Parts", "cross_influence"]

TOGETHER = 8  # held-out parts whose gradients are multiplied with the rows in one product
BLOCK = 1 << 15  # entries summed in float32 before float64 takes over


@dataclass(frozen=True)
class Parts:
    """Samples sorted by part: samples [n, …], and the part of each [n], 0 … parts − 1 without a gap."""

    samples: Tensor
    part: Tensor

    def __len__(self) -> int:
        return int(self.part.max()) + 1

    def of(self, index: int) -> Tensor:
        """The samples of one part."""
        return self.samples[(self.part == index).to(self.samples.device)]

    def mean(self, each: Tensor) -> Tensor:
        """The mean over every part [parts] of a value per sample [n]."""
        return torch.stack([each[(self.part == index).to(each.device)].mean() for index in range(len(self))])


@dataclass(frozen=True)
class CrossInfluence:
    """Contributions to the change of each held-out part's mean loss, on the CPU.

    Attributes:
        scores: float64 [Z + 2, L, groups]: of the Z parts of the batch, of the momentum, and of the weight decay.
        change: exact, float64 [L]; what the scores miss of it is the residual of the quadrature.
    """

    scores: Tensor
    change: Tensor

    @property
    def residual(self) -> Tensor:
        """change − Σ scores, float64 [L]."""
        return self.change - self.scores.sum((0, 2))


def cross_influence(
    checkpoint: Checkpoint,
    model: nn.Module,
    losses: Losses,
    train: Parts,
    heldout: Parts,
    groups: Mapping[str, int],
    *,
    quadrature: tuple[Sequence[float], Sequence[float]],
    memory_mb: int,
    samples_per_pass: int = 16,
) -> CrossInfluence:
    """Explain one update by the parts of its batch and of the held-out samples; the model is left at the checkpoint.

    Args:
        checkpoint, model, losses: as of `explaind.updates.explain.explain_update`.
        train, heldout: the batch and the held-out samples, by part.
        groups: parameter name → index of the group of parameters that it is counted to.
        quadrature: nodes on [0, 1] and their weights, as `explain_update` found them sufficient.
        memory_mb: for the rows and gradients of a chunk of parameters, in MB of 10⁶ bytes; besides them there are the model, θ,
            u_batch, u_momentum and P.
        samples_per_pass: samples in one forward and backward pass.
    """
    check_samples_per_pass(samples_per_pass)
    with prepared(checkpoint, model, losses, train.samples, heldout.samples) as (start, rehearsal):
        losses = rehearsal.losses
        update, known = compute_update(
            checkpoint, start, model, losses, train.samples, samples_per_pass, keep_preconditioner=True
        )
        rehearsal.check_again(model, train.samples, known, samples_per_pass)
        scores = torch.zeros(len(train) + 2, len(heldout), max(groups.values()) + 1, dtype=torch.float64)
        entry = next(iter(update.start.values())).element_size() * (len(train) + 2 + TOGETHER)
        sizes = {name: theta.numel() for name, theta in update.start.items()}
        for chunk in track(
            list(chunks(sizes, memory_mb * 10**6 // entry)), description="cross influence", unit="chunk"
        ):
            with trained_alone(model, chunk):
                update.place(model, 0.0)
                rows = _rows(update, model, losses, train, samples_per_pass, chunk)
                for at, weight in zip(*quadrature, strict=True):
                    update.place(model, at)
                    _add(scores, weight, rows, model, losses, heldout, groups, samples_per_pass, chunk)
        ends = []
        for at in (1.0, 0.0):
            update.place(model, at)
            ends.append(heldout.mean(measure(model, losses, heldout.samples, samples_per_pass)).cpu())
    return CrossInfluence(scores, ends[0] - ends[1])


def _rows(
    update: Update,
    model: nn.Module,
    losses: Losses,
    train: Parts,
    samples_per_pass: int,
    chunk: Chunk,
) -> dict[str, Tensor]:
    """The terms of a chunk's parameters as rows [Z + 2, entries]: u_z, u_momentum, u_decay."""
    rows = {}
    for name, place in chunk.items():
        start, decay = update.start[name].flatten()[place], update.decay[name]
        rows[name] = start.new_zeros(len(train) + 2, len(start))
        rows[name][-2] = update.momentum[name].flatten()[place]
        rows[name][-1] = (decay.flatten()[place] if isinstance(decay, Tensor) else decay) * start
    for z in range(len(train)):
        mine = train.of(z)
        share = update.clip * len(mine) / len(train.samples)  # add_gradient takes the mean over the part

        def use(name: str, gradient: Tensor, z: int = z, share: float = share) -> None:
            if name not in chunk:
                return
            product = gradient.flatten()[chunk[name]]
            if name in update.preconditioner:
                product = product * update.preconditioner[name].flatten()[chunk[name]]
            rows[name][z].add_(product, alpha=share * update.weight(name))

        add_gradient(model, losses, mine, samples_per_pass, use)
    return rows


def _add(
    scores: Tensor,
    weight: float,
    rows: dict[str, Tensor],
    model: nn.Module,
    losses: Losses,
    heldout: Parts,
    groups: Mapping[str, int],
    samples_per_pass: int,
    chunk: Chunk,
) -> None:
    """One node: subtract weight · (rows · gradients of every held-out part)."""
    count = min(TOGETHER, len(heldout))
    gradients = {name: row.new_zeros(count, row.shape[1]) for name, row in rows.items()}
    for first in range(0, len(heldout), TOGETHER):
        parts = range(first, min(first + TOGETHER, len(heldout)))
        for gradient in gradients.values():
            gradient.zero_()
        for place, part in enumerate(parts):

            def use(name: str, gradient: Tensor, place: int = place) -> None:
                if name in chunk:
                    gradients[name][place].add_(gradient.flatten()[chunk[name]])

            add_gradient(model, losses, heldout.of(part), samples_per_pass, use)
        for name, row in rows.items():
            products = _product(row, gradients[name][: len(parts)])
            scores[:, parts.start : parts.stop, groups[name]] -= weight * products.cpu()


def _product(rows: Tensor, gradients: Tensor) -> Tensor:
    """rows [R, n] · gradients [L, n]ᵀ, float64 [R, L]: float32 within blocks of entries, float64 between them."""
    total = torch.zeros(len(rows), len(gradients), dtype=torch.float64, device=rows.device)
    whole = rows.shape[1] // BLOCK * BLOCK
    if whole:
        left, right = (
            side[:, :whole].unflatten(1, (-1, BLOCK)).transpose(0, 1) for side in (rows, gradients)
        )
        total += torch.bmm(left, right.transpose(1, 2)).double().sum(0)
    return total + (rows[:, whole:] @ gradients[:, whole:].T).double()
