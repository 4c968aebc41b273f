"""Options of the interventions on a language model's updates, of which only checkpoints are kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

from pydantic import Field

from explaind.config.fields import AtLeastFive, Count, Distinct, Natural, Positive, Resamples, Several
from explaind.config.group import Group, Wrong

__all__ = ["TAKEN", "UNIT_KINDS", "UpdateProportionality"]

UnitKind = Literal["component", "layer", "head", "tensor"]
#: Groups of a model's units on which interventions act (`explaind.studies.unit_parts`).
UNIT_KINDS: tuple[str, ...] = get_args(UnitKind)
Taken = Literal["all", "batch", "momentum", "regularization"]
#: What can be taken out of an update: the whole of it, or a term (`explaind.updates.terms`).
TAKEN: tuple[str, ...] = get_args(Taken)


class UpdateProportionality(Group):
    """Interventions on updates and intervals: does what happens follow the scores?"""

    kinds: Distinct[UnitKind] = Field(description="groups of parameters that are acted on")
    groups: AtLeastFive = Field(
        description="groups of a kind and window, drawn at random, among them five that are decayed; all if there are fewer"
    )
    stride: Count = Field(
        description="checkpoints from one whose simulated update is acted on to the next, from the first on"
    )
    interval_stride: Count = Field(
        description="checkpoints from one that begins an interval which is acted on to the next, from the first on"
    )
    updates: Several = Field(description="of an interval: its first ones at most")
    retrained: dict[UnitKind, Count] = Field(
        description="kind → groups without which an interval is also trained anew: the first of those drawn"
    )
    retrained_terms: Distinct[Taken] = Field(
        description="what these groups are trained without: all of their updates, or a term"
    )
    tests: Count = Field(
        description="held-out sequences of the mean loss: evenly spread over those of influence.heldout"
    )
    tolerance: Positive = Field(
        description="largest residual of an update, as a share of the change of the loss"
    )
    max_nodes: Count = Field(description="backward passes of an update at most")
    seed: Natural = Field(description="of drawing groups and intervals")
    resamples: Resamples = Field(description="bootstrap samples of the 95 % intervals")

    def wrong(self, whole: Any) -> Iterator[Wrong]:
        key = "study.proportionality"
        for kind, count in self.retrained.items():
            if kind not in self.kinds:
                yield f"{key}.retrained", f"kinds of {key}.kinds: {', '.join(self.kinds)}", kind
            if count > self.groups:
                yield f"{key}.retrained.{kind}", f"at most {key}.groups, {self.groups}", count
        known = [name for name in whole.data.heldout.languages if name in whole.data.languages]
        limit = len(known) * whole.influence.heldout
        if self.tests > limit:
            expected = f"at most the {limit} held-out sequences of languages that are trained on"
            yield f"{key}.tests", expected, self.tests
        if whole.checkpoints.source == "trained":
            for name, least in (("stride", 0), ("interval_stride", 1)):
                if getattr(self, name) > (limit := max(1, whole.train.checkpoints - least)):
                    expected = f"at most {limit}, the checkpoints {'that have a next one' if least else 'of the run'}"
                    yield f"{key}.{name}", expected, getattr(self, name)
