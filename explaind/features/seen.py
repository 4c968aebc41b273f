"""What the samples of a micro-batch bring to their gradients, sample by sample or position by position.

A sequence's gradient is a sum over its positions: of δ, [T, …] like the outputs, each position has one row. Items are the samples
themselves, or all positions of all samples; what an item needs is put together for a few at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from explaind.errors import QueryError
from explaind.features.training_passes import TrainingPass


@dataclass(frozen=True)
class Seen:
    """m items of a micro-batch of n samples.

    Attributes:
        indices: of the items: of their samples in the training set, or sample · T + position; [m].
        samples: the inputs that were seen, δ = ∂L/∂f in the shape of the outputs, and what was drawn for each, [n, …].
        forward: the model as their forward pass evaluated it.
        rows: which of the samples each item is of, [m].
        positions: which position of it, [m]; None for whole samples.
    """

    indices: Tensor
    samples: tuple[Tensor, ...]
    forward: TrainingPass
    rows: Tensor
    positions: Tensor | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, index: Tensor | slice) -> Seen:
        """Some of the items."""
        positions = None if self.positions is None else self.positions[index]
        return replace(self, indices=self.indices[index], rows=self.rows[index], positions=positions)

    def arguments(self) -> tuple[Tensor, ...]:
        """Inputs, δ and noise of each item, [m, …]; δ of a position is zero elsewhere."""
        x, delta, *noise = (part[self.rows] for part in self.samples)
        if self.positions is not None:
            here = torch.zeros(delta.shape[:2], dtype=delta.dtype, device=delta.device)
            here[torch.arange(len(here)), self.positions] = 1
            delta = delta * here.reshape(*here.shape, *[1] * (delta.dim() - 2))
        return x, delta, *noise

    def gradients(self, theta: dict[str, Tensor]) -> list[Tensor]:
        """g = δ·∇f_θ(x) of each item, by tensor of θ: [m, entries] each, to be read only."""
        return self.forward.gradients(theta, self.arguments())


def whole_samples(indices: Tensor, samples: tuple[Tensor, ...], forward: TrainingPass) -> Seen:
    """Items that are the samples."""
    return Seen(indices, samples, forward, torch.arange(len(indices), device=indices.device))


def by_position(indices: Tensor, samples: tuple[Tensor, ...], forward: TrainingPass, positions: int) -> Seen:
    """Items that are the positions whose δ is not zero: padding and ignored labels enter no loss.

    Raises:
        QueryError: the outputs have no axis of so many positions.
    """
    delta = samples[1]
    if delta.dim() < 2 or delta.shape[1] != positions:
        raise QueryError(
            "The positions of a sequence are to be credited, but the outputs have none.",
            expected=f"outputs [n, {positions}, …], a row for each position of the targets",
            got=f"{tuple(delta.shape)}",
            remedy="Pass the samples without explaind.Tokens.",
        )
    rows, where = torch.nonzero(delta.flatten(2).any(2) if delta.dim() > 2 else delta != 0, as_tuple=True)
    return Seen(indices[rows] * positions + where, samples, forward, rows, where)
