"""The change of a held-out loss along one update, decomposed by term and unit, in reverse mode.

Along θ(τ) the loss changes by −∫ ∇L(θ(τ)) · u dτ, u the update's terms together. One backward pass per node τ gives every
parameter's gradient; it is multiplied with the terms and summed into units while the pass runs, and freed.

The exact change over any stretch of the path is known from the losses at its ends, so every quadrature has an exact error. The
whole path is tried with 1, 3 and 7 nested nodes (`explaind.features.patterson`). Where that is not enough, the stretch with the
largest error is halved; each half gets three nodes, and seven if it has the largest error again: a loss is smooth, but hardly so
where a normalised vector passes close to zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from explaind.errors import ConfigError, TrainingError
from explaind.features import patterson
from explaind.features.units import Units
from explaind.updates.gradients import on_gradients
from explaind.updates.stretch import Stretch
from explaind.updates.terms import TERMS, Update

__all__ = ["Decomposition", "Losses", "Rule", "add_gradient", "integrate", "measure"]

Losses = Callable[[nn.Module, Tensor], Tensor]
"""(model, samples [n, …]) → the loss of each sample [n]; a batch's loss is their mean."""


@dataclass(frozen=True)
class Rule:
    """How exact, and how the work is cut.

    Attributes:
        tolerance: Σ |residual| over the stretches that is accepted, as a share of |change of the loss|; stretches are not
            halved for what is below the resolution of the loss in the model's precision.
        min_nodes: nodes at least: 1, 3 or 7.
        max_nodes: backward passes over the held-out samples at most, those of halved stretches included.
        samples_per_pass: samples in one forward and backward pass; it bounds the memory of activations.

    Raises:
        ConfigError: a value is outside its range.
    """

    tolerance: float = 1e-3
    min_nodes: int = 1
    max_nodes: int = 63
    samples_per_pass: int = 16

    def __post_init__(self) -> None:
        if not self.tolerance >= 0:
            raise ConfigError("The tolerance is out of range.", expected="0 or more", got=f"{self.tolerance}")
        for name in ("min_nodes", "max_nodes", "samples_per_pass"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(
                    f"{name} is out of range.", expected="a whole number, 1 or more", got=f"{value}"
                )


@dataclass(frozen=True)
class Decomposition:
    """What one update did to the held-out loss.

    Attributes:
        scores: contributions to the change [terms and further rows, units], float64; negative ones lower the loss.
        before, after: loss of every held-out sample at both ends, float64 [n].
        reconstructed: the change that the scores imply over the whole path, by number of nested nodes.
        nodes, weights: of the quadrature that gave the scores, on [0, 1].
        spent: backward passes over the held-out samples.
    """

    scores: Tensor
    before: Tensor
    after: Tensor
    reconstructed: dict[int, float]
    nodes: tuple[float, ...]
    weights: tuple[float, ...]
    spent: int

    @property
    def change(self) -> float:
        """The exact change of the mean loss."""
        return float((self.after - self.before).mean())

    @property
    def reconstruction(self) -> float:
        """The change that the scores imply."""
        return float(self.scores[: len(TERMS)].sum())

    @property
    def residual(self) -> float:
        """Exact change − sum of the scores."""
        return self.change - self.reconstruction


@torch.no_grad()
def measure(model: nn.Module, losses: Losses, samples: Tensor, rule: Rule) -> Tensor:
    """The loss of each sample, float64 [n]."""
    return torch.cat([losses(model, part).double() for part in samples.split(rule.samples_per_pass)])


def add_gradient(
    model: nn.Module, losses: Losses, samples: Tensor, rule: Rule, use: Callable[[str, Tensor], None]
) -> Tensor:
    """Pass the gradient of the samples' mean loss to `use`, in as many pieces as there are passes; each loss, float64 [n].

    Nothing is passed of a parameter that the losses do not depend on.
    """
    found = []
    with torch.enable_grad(), on_gradients(model, use):
        for part in samples.split(rule.samples_per_pass):
            loss = losses(model, part)
            if loss.requires_grad:
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
    rows: Sequence[Mapping[str, Tensor]] = (),
) -> Decomposition:
    """Decompose the change of the held-out loss along the update.

    Args:
        update: its terms.
        model: is moved along the path, and left at its end θ(1).
        losses, heldout: the mean of losses(model, heldout) is what changes.
        units: of the model's parameters.
        rule: tolerance and nodes.
        rows: further directions by parameter name, whose ∫ −∇L · row dτ are added to the scores below the three terms; they are
            no part of the update and do not enter the residual.
    """

    def loss_at(at: float) -> Tensor:
        update.place(model, at)
        return measure(model, losses, heldout, rule)

    def scores_at(at: float) -> Tensor:
        update.place(model, at)
        return _scores(update, model, losses, heldout, units, rule, rows)

    before, after = loss_at(0.0), loss_at(1.0)
    whole = Stretch(0.0, 1.0, float(before.mean()), float(after.mean()), scores_at)
    change, reconstructed = whole.change, {}
    if not math.isfinite(change):
        raise TrainingError(
            "The held-out loss is not finite along the update.",
            got=f"{whole.before} before and {float(after.mean())} after it",
            remedy="Check the checkpoint with its verify(), and the learning rate.",
        )
    accepted = rule.tolerance * abs(change)
    for count in patterson.LEVELS:
        if count > rule.max_nodes:
            break
        whole.refine()
        reconstructed[count] = whole.reconstruction
        if count >= rule.min_nodes and abs(whole.residual) <= accepted:
            break
    stretches, spent = [whole], max(reconstructed)
    # A residual below the resolution of the loss itself is rounding: no node takes it away.
    accepted = max(accepted, torch.finfo(next(model.parameters()).dtype).eps * abs(whole.before))
    while sum(abs(one.residual) for one in stretches) > accepted:
        worst = max(stretches, key=lambda one: abs(one.residual))
        cost = worst.next_cost
        if spent + cost > rule.max_nodes:
            break
        if worst.is_finest:
            stretches.remove(worst)
            stretches += worst.halves(float(loss_at(worst.middle).mean()))
        else:
            worst.refine()
        spent += cost
    stretches.sort(key=lambda one: one.start)
    update.place(model, 1.0)
    return Decomposition(
        scores=torch.stack([one.scores for one in stretches]).sum(0),
        before=before,
        after=after,
        reconstructed=reconstructed,
        nodes=tuple(node for one in stretches for node in one.nodes()),
        weights=tuple(weight for one in stretches for weight in one.weights()),
        spent=spent,
    )


def _scores(
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

    add_gradient(model, losses, heldout, rule, reduce)
    return scores
