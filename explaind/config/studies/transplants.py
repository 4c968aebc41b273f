"""Options of the studies that move layers between checkpoints of a run and other networks, and the names of those checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field

from explaind.config.fields import Count, ListsByName, Names, Natural, Seeds, Several, Text
from explaind.config.group import Group, Wrong
from explaind.config.recorded import Recorded

__all__ = ["PHASES", "Swap", "Transplant"]

#: Checkpoints that have a name in every run; "transition" is halfway from memorisation to generalisation.
PHASES = ("memorization", "transition", "generalization", "final")

LEAST_SEEDS = 2  # an interval of the mean needs a variance


class Transplant(Group):
    """Networks that start with some layers of the explained run, all others drawn anew, and are trained."""

    layers: ListsByName = Field(
        description="combination → the layers that it takes from a checkpoint, by the experiment's names; "
        "an empty list takes none: the control"
    )
    checkpoints: ListsByName = Field(
        description="combination → the checkpoints from which it is taken, one training each: "
        f"{', '.join(PHASES)}, the name of a window (its first update), or a number of updates in quotes"
    )
    shown: Names = Field(description="combinations of figure 3b, each at the last of its checkpoints")
    seeds: Seeds = Field(description="of the newly drawn parameters; none of them a seed of the runs")
    updates: Count = Field(description="of each training, at most")
    evaluate_every: Count = Field(description="updates between evaluations of the test set")
    settle: Count = Field(
        description="updates after every seed has generalised (train.generalized_accuracy), at which a training ends early"
    )
    frozen: bool = Field(
        description="true: transplanted layers stay as they are; false: they are where training starts, as all others"
    )

    def wrong(self, whole: Recorded) -> Iterator[Wrong]:
        key = "study.transplant"
        for name, layers in self.layers.items():
            known = (
                type(whole.model).layer_names or layers
            )  # where the options name none, the study compares with the model
            if strange := [layer for layer in layers if layer not in known]:
                yield f"{key}.layers.{name}", f"layers of the model: {', '.join(known)}", strange[0]
        for name, moments in self.checkpoints.items():
            if name not in self.layers:
                yield f"{key}.checkpoints", f"combinations among {', '.join(self.layers)}", name
            if not moments:
                yield f"{key}.checkpoints.{name}", "at least one checkpoint", moments
            yield from _misplaced(f"{key}.checkpoints.{name}", moments, whole)
        if strange := [name for name in self.shown if name not in self.checkpoints]:
            yield f"{key}.shown", f"combinations among {', '.join(self.checkpoints)}", strange[0]
        if len(self.seeds) < LEAST_SEEDS:
            yield (
                f"{key}.seeds",
                f"at least {LEAST_SEEDS} seeds: the interval of a mean needs them",
                self.seeds,
            )
        if taken := sorted({*self.seeds} & {*whole.train.seeds, whole.train.seed}):
            yield f"{key}.seeds", "other seeds than those of the runs: parameters are drawn anew", taken
        if self.evaluate_every > self.updates:
            yield (
                f"{key}.evaluate_every",
                f"at most study.transplant.updates, {self.updates}",
                self.evaluate_every,
            )


class Swap(Group):
    """Layers of the last checkpoint in the place of those of earlier ones, without training."""

    stride: Count = Field(description="updates from one checkpoint to the next")
    shown: Names = Field(
        description="two checkpoints whose errors are counted by label difference; named as in study.transplant.checkpoints"
    )
    combination: Text = Field(description="of study.transplant.layers: the one whose errors are counted")
    resamples: Several = Field(description="bootstrap samples of the 95 % intervals, which draw tests again")
    seed: Natural = Field(description="of these draws")

    def wrong(self, whole: Any) -> Iterator[Wrong]:
        layers = whole.study.transplant.layers
        if not layers.get(self.combination):
            expected = "a combination of study.transplant.layers that takes layers"
            yield "study.swap.combination", expected, self.combination
        if len(self.shown) != 2:
            yield "study.swap.shown", "two checkpoints", self.shown
        yield from _misplaced("study.swap.shown", self.shown, whole)


def _misplaced(key: str, moments: Sequence[str], whole: Any) -> Iterator[Wrong]:
    """Checkpoints that no run of this configuration can have."""
    known = (*PHASES, *whole.study.windows.positions)
    for moment in moments:
        if moment.isdecimal() and int(moment) > whole.train.max_steps:
            yield key, f"a checkpoint up to train.max_steps, {whole.train.max_steps}", moment
        if not moment.isdecimal() and moment not in known:
            yield key, f"{', '.join(known)}, or a number of updates", moment
