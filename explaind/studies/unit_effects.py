"""What interventions on a language model are measured with: its held-out loss in float64, with one group's movement taken out.

Notation: a movement from θ_a to θ_b is a sum of terms u, one update's or those of an interval added up: θ_b = θ_a − Σ u. Without
the term u of a group G the parameters are θ_b + u[G], and all else is as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from explaind.config.studies import TAKEN
from explaind.studies.unit_parts import UnitGroup
from explaind.updates.gradients import Collected
from explaind.updates.path import Losses, add_gradient, measure
from explaind.updates.terms import TERMS, Update

__all__ = ["HeldoutLoss", "Movement", "OneUpdate", "act_on_groups", "term_of"]

ALL = TAKEN[0]


def term_of(update: Update, term: str, name: str) -> Tensor:
    """u of one term of an update and one parameter tensor, in the update's precision; "all": all three together."""
    if term == ALL:
        return sum((term_of(update, one, name) for one in TERMS[1:]), update.batch[name])
    if term == TERMS[2]:
        return update.decay[name] * update.start[name]
    return getattr(update, term)[name]


class Movement(Protocol):
    """Parameters that moved."""

    def end(self, name: str) -> Tensor | None:
        """θ_b of a tensor, float64; None if it did not move."""

    def taken(self, term: str, name: str) -> Tensor:
        """u of "all" or of one term, of a tensor that moved, float64."""


class OneUpdate:
    """The movement of one update, a tensor at a time."""

    def __init__(self, update: Update) -> None:
        self._update = update

    def end(self, name: str) -> Tensor | None:
        """θ − u."""
        if name not in self._update.start:
            return None
        return self._update.start[name].double() - self.taken(ALL, name)

    def taken(self, term: str, name: str) -> Tensor:
        """u, the sum of all terms formed in float64."""
        if term == ALL:
            return sum((term_of(self._update, one, name).double() for one in TERMS), torch.zeros(()).double())
        return term_of(self._update, term, name).double()


class HeldoutLoss:
    """The mean held-out loss in float64: effects of single groups are below float32's rounding.

    Args:
        model: in float64; its parameters are overwritten.
        losses: (model, samples) → the loss of each sample [n].
        samples: held-out ones [n, …].
        samples_per_pass: in one forward and backward pass.
    """

    def __init__(self, model: nn.Module, losses: Losses, samples: Tensor, samples_per_pass: int) -> None:
        self.parameters = dict(model.named_parameters())
        self._of = (model, losses, samples, samples_per_pass)

    @torch.no_grad()
    def place(self, value: Callable[[str], Tensor | None]) -> None:
        """Set parameters by name; None leaves one as it is."""
        for name, parameter in self.parameters.items():
            if (there := value(name)) is not None:
                parameter.copy_(there)

    def __call__(self) -> float:
        """L where the model stands."""
        return float(measure(*self._of).mean())

    def slope(self) -> Mapping[str, Tensor]:
        """∇L where the model stands, by name."""
        gradient = Collected({name: torch.zeros_like(p.detach()) for name, p in self.parameters.items()})
        model, losses, samples, samples_per_pass = self._of
        add_gradient(model, losses, samples, samples_per_pass, gradient.add)
        return gradient

    @torch.no_grad()
    def without(self, group: UnitGroup, taken: Mapping[str, Tensor]) -> float:
        """L with `taken` added to the group's parameters, which are put back."""
        before = [piece.of(self.parameters[piece.name]).clone() for piece in group.pieces]
        for piece in group.pieces:
            if piece.name in taken:
                piece.of(self.parameters[piece.name]).add_(piece.of(taken[piece.name]))
        effect = self()
        for piece, value in zip(group.pieces, before, strict=True):
            piece.of(self.parameters[piece.name]).copy_(value)
        return effect


def act_on_groups(
    loss: HeldoutLoss,
    movement: Movement,
    parts: Mapping[str, Mapping[str, UnitGroup]],
    scores: Tensor,
    labels: tuple[str, str],
) -> Iterator[tuple]:
    """Rows of the interventions that leave all but a group as it was (`explaind.studies.intervention.COLUMNS` from the fifth on).

    What a term does not move, such as norms without decay, is no intervention.

    Args:
        loss: its model stands at θ_b.
        movement: what led there.
        parts: kind → group name → units.
        scores: contributions to the change of L by term and unit, float64 [3, units].
        labels: what taking out all of the movement is called, and taking out one of its terms.
    """
    final, slope = loss(), loss.slope()
    by_term = dict(zip((ALL, *TERMS), (scores.sum(0), *scores), strict=True))
    for kind, groups in parts.items():
        for name, group in groups.items():
            size = sum(piece.of(loss.parameters[piece.name]).numel() for piece in group.pieces)
            moved = [
                one for one in dict.fromkeys(p.name for p in group.pieces) if movement.end(one) is not None
            ]
            for term in TAKEN:
                taken = {one: movement.taken(term, one) for one in moved}
                pairs = [(p.of(taken[p.name]), p.of(slope[p.name])) for p in group.pieces if p.name in taken]
                if not any(bool(part.any()) for part, _ in pairs):
                    continue
                local = sum(float((part * along).sum()) for part, along in pairs)
                predicted = -float(by_term[term][group.units.to(scores.device)].sum())
                effect = loss.without(group, taken) - final
                yield labels[term != ALL], term, kind, name, size, predicted, effect, local
