"""The change of a held-out loss along one update, decomposed by term and unit, in reverse mode.

Along θ(τ) the loss changes by −∫ ∇L(θ(τ)) · u dτ, u the update's terms together. One backward pass per node τ gives every parameter's
gradient; it is multiplied with the terms and summed into units while the pass runs, and freed. The nodes nest (see
`explaind.features.patterson`), and the exact change is known from the two ends, so the number of nodes grows only until the residual is
within the tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from explaind.features import patterson
from explaind.updates.terms import TERMS, Update, on_gradients
from explaind.updates.units import Units

__all__ = ["Decomposition", "Losses", "Rule", "add_gradient", "integrate", "measure"]

Losses = Callable[[nn.Module, Tensor], Tensor]
"""(model, samples [n, …]) → the loss of each sample [n]; a batch's loss is their mean."""


@dataclass(frozen=True)
class Rule:
    """How exact, and how the work is cut.

    Attributes:
        tolerance: |residual| accepted, as a share of |change of the loss|.
        min_nodes, max_nodes: nodes spent at least and at most; of 1, 3, 7 and 15.
        samples_per_pass: samples in one forward and backward pass; it bounds the memory of activations.
    """

    tolerance: float = 1e-3
    min_nodes: int = 1
    max_nodes: int = 15
    samples_per_pass: int = 16


@dataclass(frozen=True)
class Decomposition:
    """What one update did to the held-out loss.

    Attributes:
        scores: contributions to the change [terms and further rows, units], float64; negative ones lower the loss.
        before, after: loss of every held-out sample at both ends, float64 [n].
        reconstructed: the change that the scores imply, by number of nodes spent.
    """

    scores: Tensor
    before: Tensor
    after: Tensor
    reconstructed: dict[int, float]

    @property
    def change(self) -> float:
        """The exact change of the mean loss."""
        return float((self.after - self.before).mean())

    @property
    def nodes(self) -> int:
        """Nodes spent."""
        return max(self.reconstructed)

    @property
    def residual(self) -> float:
        """Exact change − sum of the scores."""
        return self.change - self.reconstructed[self.nodes]


@torch.no_grad()
def measure(model: nn.Module, losses: Losses, samples: Tensor, rule: Rule) -> Tensor:
    """The loss of each sample, float64 [n]."""
    return torch.cat([losses(model, part).double() for part in samples.split(rule.samples_per_pass)])


def add_gradient(
    model: nn.Module, losses: Losses, samples: Tensor, rule: Rule, use: Callable[[str, Tensor], None]
) -> Tensor:
    """Pass the gradient of the samples' mean loss to `use`, in as many pieces as passes are needed; the loss of each, float64 [n]."""
    found = []
    with torch.enable_grad(), on_gradients(model, use):
        for part in samples.split(rule.samples_per_pass):
            loss = losses(model, part)
            (loss.sum() / len(samples)).backward()
            found.append(loss.detach().double())
    return torch.cat(found)


def integrate(
    update: Update,
    model: nn.Module,
    losses: Losses,
    heldout: Tensor,
    units: Units,
    rule: Rule,
    *,
    before: Tensor | None = None,
    rows: Sequence[Mapping[str, Tensor]] = (),
) -> Decomposition:
    """Decompose the change of the held-out loss along the update.

    Args:
        update: its terms.
        model: is moved along the path, and left at its end θ(1).
        losses, heldout: the mean of losses(model, heldout) is what changes.
        units: of the model's parameters.
        rule: tolerance and nodes.
        before: the losses at θ(0), where they are known; measured otherwise.
        rows: further directions by parameter name, whose ∫ −∇L · row dτ are added to the scores below the three terms; they are no part
            of the update and do not enter the residual.
    """
    if before is None:
        update.place(model, 0.0)
        before = measure(model, losses, heldout, rule)
    update.place(model, 1.0)
    after = measure(model, losses, heldout, rule)
    change = float((after - before).mean())
    found: list[Tensor] = []
    reconstructed: dict[int, float] = {}
    for level, count in enumerate(patterson.LEVELS):
        if count > rule.max_nodes:
            break
        for at in patterson.new_nodes(level):
            update.place(model, at)
            found.append(_scores_at(update, model, losses, heldout, units, rule, rows))
        weights = torch.tensor(patterson.weights(level), dtype=torch.float64, device=before.device)
        scores = torch.einsum("n,nru->ru", weights, torch.stack(found))
        reconstructed[count] = float(scores[: len(TERMS)].sum())
        if count >= rule.min_nodes and abs(change - reconstructed[count]) <= rule.tolerance * abs(change):
            break
    update.place(model, 1.0)
    return Decomposition(scores, before, after, reconstructed)


def _scores_at(
    update: Update,
    model: nn.Module,
    losses: Losses,
    heldout: Tensor,
    units: Units,
    rule: Rule,
    rows: Sequence[Mapping[str, Tensor]],
) -> Tensor:
    """−∇L(θ(τ)) · each term and row, by unit, where the model stands."""
    device = next(model.parameters()).device
    scores = torch.zeros(len(TERMS) + len(rows), units.size, dtype=torch.float64, device=device)

    def reduce(name: str, gradient: Tensor) -> None:
        gradient = gradient.to(update.start[name].dtype)
        place = units.slices[name]
        scores[0, place] -= units.dot(name, gradient, update.batch[name])
        scores[1, place] -= units.dot(name, gradient, update.momentum[name])
        if update.decay[name]:
            scores[2, place] -= update.decay[name] * units.dot(name, gradient, update.start[name])
        for index, row in enumerate(rows, len(TERMS)):
            scores[index, place] -= units.dot(name, gradient, row[name])

    add_gradient(model, losses, heldout, rule, reduce)
    return scores
