"""The change of a held-out loss along one update, decomposed by term and unit, in reverse mode.

Along θ(τ) the loss changes by −∫ ∇L(θ(τ)) · u dτ, u the update's terms together. One backward pass per node τ gives every
parameter's gradient; it is multiplied with the terms and summed into units while the pass runs, and freed. The integral is that
of `explaind.features.quadrature.bisection`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from explaind.errors import TrainingError
from explaind.features.quadrature import Accuracy, BisectedIntegral, bisected
from explaind.features.units import Units
from explaind.updates.gradients import on_gradients
from explaind.updates.terms import TERMS, Update

__all__ = ["Decomposition", "Losses", "add_gradient", "integrate", "measure"]

Losses = Callable[[nn.Module, Tensor], Tensor]
"""(model, samples [n, …]) → the loss of each sample [n]; a batch's loss is their mean."""


@dataclass(frozen=True)
class Decomposition:
    """What one update did to the held-out loss.

    Attributes:
        integral: of −∇L · each of the terms, and of further rows: its one part is float64 [rows, units]; negative entries lower
            the loss. Its residual is what the quadrature missed of `change`.
        before, after: loss of every held-out sample at both ends, float64 [n].
        change: the exact change of the mean loss.
    """

    integral: BisectedIntegral
    before: Tensor
    after: Tensor
    change: float

    @property
    def scores(self) -> Tensor:
        """Contributions to the change of the mean loss [terms and further rows, units]."""
        return self.integral.parts[0]


@torch.no_grad()
def measure(model: nn.Module, losses: Losses, samples: Tensor, samples_per_pass: int) -> Tensor:
    """The loss of each sample, float64 [n]."""
    return torch.cat([losses(model, part).double() for part in samples.split(samples_per_pass)])


def add_gradient(
    model: nn.Module,
    losses: Losses,
    samples: Tensor,
    samples_per_pass: int,
    use: Callable[[str, Tensor], None],
) -> Tensor:
    """Pass the gradient of the samples' mean loss to `use`, in as many pieces as there are passes; each loss, float64 [n].

    Nothing is passed of a parameter that the losses do not depend on.
    """
    measured = []
    with torch.enable_grad(), on_gradients(model, use):
        for part in samples.split(samples_per_pass):
            loss = losses(model, part)
            if loss.requires_grad:
                (loss.sum() / len(samples)).backward()
            measured.append(loss.detach().double())
    return torch.cat(measured)


def integrate(
    update: Update,
    model: nn.Module,
    losses: Losses,
    heldout: Tensor,
    units: Units,
    accuracy: Accuracy,
    *,
    samples_per_pass: int,
    rows: Sequence[Mapping[str, Tensor]] = (),
) -> Decomposition:
    """Decompose the change of the held-out loss along the update.

    Args:
        update: its terms.
        model: is moved along the path, and left at its end θ(1).
        losses, heldout: the mean of losses(model, heldout) is what changes.
        units: of the model's parameters.
        accuracy: of the integral; an error below the resolution of the loss in the model's precision is rounding.
        samples_per_pass: held-out samples in one forward and backward pass.
        rows: further directions by parameter name, whose ∫ −∇L · row dτ are added to the scores below the three terms; they are
            no part of the update and do not enter the residual.

    Raises:
        TrainingError: the loss is not finite.
    """

    def loss_at(at: float) -> Tensor:
        update.place(model, at)
        return measure(model, losses, heldout, samples_per_pass)

    def scores_at(at: float, _: Tensor | None) -> list[Tensor]:
        update.place(model, at)
        return [_scores(update, model, losses, heldout, units, samples_per_pass, rows)]

    ends = {0.0: loss_at(0.0), 1.0: loss_at(1.0)}
    before, after = ends.values()
    if not math.isfinite(float(after.mean()) - float(before.mean())):
        raise TrainingError(
            "The held-out loss is not finite along the update.",
            got=f"{float(before.mean())} before and {float(after.mean())} after it",
            remedy="Check the checkpoint with its verify(), and the learning rate.",
        )
    change = (after - before).mean()
    integral = bisected(
        scores_at,
        lambda parts: parts[0][: len(TERMS)].sum(),
        change,
        lambda at: float((ends[at] if at in ends else loss_at(at)).mean()),
        accuracy,
        rounding=torch.finfo(next(model.parameters()).dtype).eps * abs(float(before.mean())),
    )
    update.place(model, 1.0)
    return Decomposition(integral, before, after, float(change))


def _scores(
    update: Update,
    model: nn.Module,
    losses: Losses,
    heldout: Tensor,
    units: Units,
    samples_per_pass: int,
    rows: Sequence[Mapping[str, Tensor]],
) -> Tensor:
    """−∇L(θ(τ)) · each term and row, by unit, where the model stands."""
    device = next(model.parameters()).device
    scores = torch.zeros(len(TERMS) + len(rows), units.size, dtype=torch.float64, device=device)

    def reduce(name: str, gradient: Tensor) -> None:
        if name not in update.start:  # torch skips it: it stays where it is
            return
        gradient = gradient.to(update.start[name].dtype)
        place = units.slices[name]
        scores[0, place] -= units.dot(name, gradient, update.batch[name])
        scores[1, place] -= units.dot(name, gradient, update.momentum[name])
        decay = update.decay[name]
        if isinstance(decay, Tensor):
            scores[2, place] -= units.dot(name, gradient, decay * update.start[name])
        elif decay:
            scores[2, place] -= decay * units.dot(name, gradient, update.start[name])
        for index, row in enumerate(rows, len(TERMS)):
            scores[index, place] -= units.dot(name, gradient, row[name])

    add_gradient(model, losses, heldout, samples_per_pass, reduce)
    return scores
