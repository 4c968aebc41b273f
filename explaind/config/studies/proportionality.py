"""Interventions on the run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

from pydantic import Field

from explaind.config.fields import (
    AtLeastFive,
    Count,
    Distinct,
    Natural,
    Pair,
    Part,
    Positive,
    PowerOfThree,
    Resamples,
    Several,
    Text,
)
from explaind.config.group import Group, Wrong
from explaind.config.studies.common import NODES, unknown_modules

__all__ = ["PART_KINDS", "Proportionality"]

PartKind = Literal["layer", "head", "neuron", "parameter"]
#: Groups of parameters on which interventions act (`explaind.studies.parts`).
PART_KINDS: tuple[str, ...] = get_args(PartKind)


class Proportionality(Group):
    """Interventions on the run: does what happens follow the scores?"""

    windows: list[Text] = Field(description="windows of study.windows, by name")
    ranges: list[Pair[Natural]] = Field(
        description="further windows: the first update and the one behind the last"
    )
    updates: Several = Field(description="of a window: its first ones at most")
    kinds: Distinct[PartKind] = Field(description="groups of parameters that are acted on")
    units: list[Text] = Field(description="paths of linear or convolution modules whose units are neurons")
    neurons: AtLeastFive = Field(description="neurons of a window, drawn at random; all if there are fewer")
    parameters: AtLeastFive = Field(description="single parameters of a window, drawn at random")
    retrained: Natural = Field(
        description="groups of a kind (single parameters aside) whose terms are also removed while training goes on: the first"
    )
    shares: Distinct[Part] = Field(description="shares of the training set that are left out")
    sets: AtLeastFive = Field(
        description="random sets of each share; the most helpful and harmful samples make two more"
    )
    tests: Count = Field(description="test samples of the mean loss: the first ones")
    tolerance: Positive = Field(description="largest residual of an update, in nats of the mean loss")
    max_nodes: PowerOfThree = Field(description=NODES)
    seed: Natural = Field(description="of drawing groups, sets and intervals")
    resamples: Resamples = Field(description="bootstrap samples of the 95 % intervals")

    def wrong(self, whole: Any) -> Iterator[Wrong]:
        yield from unknown_modules("study.proportionality.units", self.units, whole)
        placed = getattr(whole.study, "windows", None)
        known = [] if placed is None else list(placed.positions)
        if not self.windows and not self.ranges:
            yield (
                "study.proportionality.ranges",
                "at least one window, here or in study.proportionality.windows",
                [],
            )
        if unknown := [name for name in self.windows if name not in known]:
            expected = f"names of windows of study.windows, {known}"
            yield "study.proportionality.windows", expected, unknown
        for start, stop in self.ranges:
            if not start + 2 <= stop <= whole.train.max_steps:
                expected = (
                    f"windows of at least 2 updates that end by train.max_steps, {whole.train.max_steps}"
                )
                yield "study.proportionality.ranges", expected, [start, stop]
        if self.tests > whole.data.test:
            yield "study.proportionality.tests", f"at most the {whole.data.test} test samples", self.tests
        if "neuron" in self.kinds and not self.units:
            yield "study.proportionality.units", "modules with neurons, as kinds has 'neuron'", self.units
        if whole.optimizer.name != "AdamW":
            expected = (
                "AdamW, whose decay is a term of its own at every update: study.proportionality removes it"
            )
            yield "optimizer.name", expected, whole.optimizer.name
