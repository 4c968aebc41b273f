"""An interval of our own run after a checkpoint: repeated, explained, and gone through again without a term of a group.

Notation: u_s are the terms of update s = a … b−1 (`explaind.updates.terms`), θ_b = θ_a − Σ_s u_s. Without a term in a group G,
every update is made as torch makes it, from gradients and moments at the changed parameters, and u_s[G] of it is then put back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from explaind.checkpoints import Checkpoint, TrainingState
from explaind.errors import TrainingError
from explaind.experiments.language.pretraining import Pretraining
from explaind.features.quadrature import Accuracy
from explaind.studies.effects import DRIFT
from explaind.studies.unit_effects import term_of
from explaind.studies.unit_parts import UnitGroup
from explaind.training.pretraining import Trainer
from explaind.updates.interval import explain_interval
from explaind.updates.terms import TERMS, Update, make_update

__all__ = ["Interval", "TermwiseTrainer"]


class TermwiseTrainer(Trainer):
    """A trainer that hands over the terms of each update when it has made it.

    Args:
        config, experiment, checkpoint: as of `Trainer`.
        act: (the terms, the model behind the update) → None; it may move the model.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        experiment: Pretraining,
        checkpoint: Checkpoint | TrainingState,
        act: Callable[[Update, nn.Module], None],
    ) -> None:
        super().__init__(config, experiment, checkpoint)
        self._act = act

    def apply(self) -> float:
        """As `Trainer.apply`."""
        named = dict(self.model.named_parameters())
        start = {name: p.detach().clone() for name, p in named.items()}
        update = make_update(self.state(), start, {name: p.grad.clone() for name, p in named.items()})
        norm = super().apply()
        with torch.no_grad():
            self._act(update, self.model)
        return norm


class Interval:
    """The updates that follow a checkpoint, up to `stop`: made again as they were, or without a group's term.

    As the movement that they sum up to (`explaind.studies.unit_effects.Movement`), it is complete once `explained` ran.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        experiment: Pretraining,
        checkpoint: Checkpoint | TrainingState,
        stop: int,
    ) -> None:
        self.experiment, self.checkpoint, self.stop = experiment, checkpoint, stop
        self.config = config
        self._summed: dict[str, dict[str, Tensor]] = {term: {} for term in TERMS}
        self._start: dict[str, Tensor] = {}
        self._end: dict[str, Tensor] = {}

    def trained(self, term: str | None = None, group: UnitGroup | None = None) -> Trainer:
        """A run over the interval; without `term` in the group's part of each update, if there are these."""
        trainer = TermwiseTrainer(
            self.config, self.experiment, self.checkpoint, partial(_put_back, term=term, group=group)
        )
        while trainer.done < self.stop:
            trainer.step()
        return trainer

    def explained(self, heldout: Tensor, again: TrainingState) -> Tensor:
        """Scores of the interval by term and unit, float64 [3, units].

        Args:
            heldout: samples whose mean loss is explained.
            again: the end of another run over the interval, unchanged.

        Raises:
            TrainingError: the two do not end at the same parameters.
        """
        options = self.config["study"]["proportionality"]
        trainer = TermwiseTrainer(self.config, self.experiment, self.checkpoint, self._add)
        self._start = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
        explained = explain_interval(
            trainer,
            self.experiment.architecture.losses,
            lambda step: trainer.batch(step)[0],
            again,
            heldout,
            self.experiment.architecture.units(self.checkpoint),
            Accuracy(options["tolerance"], options["max_nodes"]),
            samples_per_pass=self.config["execution"]["samples_per_pass"],
        )
        _check_arrival(explained.attrs["arrival"], "made twice", self.stop)
        self._end = {name: p.detach() for name, p in trainer.model.named_parameters()}
        return torch.from_numpy(explained["score"].sel(term=list(TERMS)).sum("update").values)

    def check_end(self, model: nn.Module, following: Checkpoint) -> None:
        """Raise TrainingError unless the model, gone over the interval, is at the run's next checkpoint."""
        off = way = 0.0
        for name, p in model.named_parameters():
            there = following.weight(name).to(p).double()
            off += float((p.detach().double() - there).square().sum())
            way += float((self.checkpoint.weight(name).to(there) - there).square().sum())
        _check_arrival((off / way) ** 0.5, "repeated", self.stop)

    def end(self, name: str) -> Tensor | None:
        """θ_b."""
        return self._end[name].double()

    def taken(self, term: str, name: str) -> Tensor:
        """Σ_s u of one term, or θ_a − θ_b for all."""
        if term in self._summed:
            return self._summed[term][name].double()
        return self._start[name].double() - self._end[name].double()

    def _add(self, update: Update, _: nn.Module) -> None:
        for term, sums in self._summed.items():
            for name in update.start:
                u = term_of(update, term, name)
                sums[name] = sums[name].add_(u) if name in sums else u.clone()


def _put_back(update: Update, model: nn.Module, *, term: str | None, group: UnitGroup | None) -> None:
    """Undo a term of the update that was just made, in the group."""
    if term is None or group is None:
        return
    named = dict(model.named_parameters())
    for piece in group.pieces:
        here = piece.of(named[piece.name])
        if term in TERMS:
            here.add_(piece.of(term_of(update, term, piece.name)))
        else:  # to the bit
            here.copy_(piece.of(update.start[piece.name]))


def _check_arrival(share: float, how: str, stop: int) -> None:
    if not share <= DRIFT:
        raise TrainingError(
            f"The updates up to {stop}, {how}, end elsewhere.",
            expected=f"at most {DRIFT:.0%} of the way that they go",
            got=f"{share:.2%}",
            remedy="Check that configuration and text are those of the run.",
        )
