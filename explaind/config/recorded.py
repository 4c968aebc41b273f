"""Options of an experiment that trains under a recorder and explains its predictions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from explaind.config.fields import Accuracy, Count, Natural, Positive, PowerOfThree, Seeds, Text
from explaind.config.group import Group, Wrong
from explaind.config.shared import Common

__all__ = ["Influence", "Recorded", "Samples", "Select", "Training", "Verify"]


class Samples(Group):
    """Which samples. An experiment's own narrows the name and adds what its data need."""

    mirrored: ClassVar[bool] = False  # Is a sample's mirror image a sample too?

    name: Text = Field(description="which data; the other keys belong to it")
    train: Count = Field(description="training samples")
    test: Count = Field(description="test samples")


class Training(Group):
    """One run: from the initial parameters of a seed until it stops."""

    seeds: Seeds = Field(
        description="seeds of data split and initial parameters, in the order in which select tries them"
    )
    seed: Natural | None = Field(description="one seed to use in place of the list; null: the list")
    max_steps: Count = Field(description="updates at most")
    batch: Count | None = Field(description="samples of an update; null: all")
    drop_last: bool = Field(description="is an incomplete last batch left out?")
    flip: Literal["none", "horizontal"] = Field(
        description="horizontal: each image is mirrored with probability ½; recorded and replayed"
    )
    schedule: Literal["constant", "triangular"] = Field(description="a factor on optimizer.lr, by epoch")
    peak_epoch: Positive | None = Field(description="epoch of the triangle's peak; null: constant")
    evaluate_every: Count = Field(description="updates between evaluations of the test set")
    stop_accuracy: Accuracy | None = Field(
        description="stop once train and test accuracy are both at least this; null: run to max_steps"
    )
    memorized_accuracy: Accuracy = Field(description="memorised: train accuracy above this")
    generalized_accuracy: Accuracy = Field(description="generalised: test accuracy above this")
    threads: Count = Field(
        description="torch threads of one training: the order of float sums depends on them"
    )

    def wrong(self, whole: Recorded) -> Iterator[Wrong]:
        data = whole.data
        if self.batch is not None and self.batch > data.train:
            yield "train.batch", f"at most the {data.train} samples of the training set", self.batch
        if self.flip != "none" and self.batch is None:
            yield "train.flip", "none, when every step sees all samples (train.batch is null)", self.flip
        if self.flip != "none" and not data.mirrored:
            yield "train.flip", "none: only images have a mirror image that can be replayed", self.flip
        if (self.schedule == "triangular") != (self.peak_epoch is not None):
            yield (
                "train.peak_epoch",
                "the epoch of the highest rate with train.schedule=triangular, else null",
                self.peak_epoch,
            )


class Select(Group):
    """The choice among the runs of several seeds."""

    fallback: Literal["refuse", "best"] = Field(
        description="no seed reached the stopping rule: refuse, or take the best test accuracy at the end"
    )


class Verify(Group):
    """The check of the recording."""

    tolerance: Positive = Field(description="largest relative l2 error of a replayed update that passes")


class Influence(Group):
    """Certified adaptive quadrature: midpoint nodes are tripled until the residual is below the tolerance."""

    tolerance: Positive = Field(description="largest residual of each step, test sample and output")
    max_nodes: PowerOfThree = Field(description="midpoint nodes at most")
    tests: Count = Field(description="explained test samples: the first ones")
    block: Count = Field(
        description="test samples evaluated together, which decides last bits; a part has whole blocks of them"
    )
    groups: Literal["layer", "all"] = Field(description="parameters by layer, or all together")

    def wrong(self, whole: Recorded) -> Iterator[Wrong]:
        if self.tests > whole.data.test:
            yield "influence.tests", f"at most the {whole.data.test} test samples", self.tests
        part = whole.execution.part_tests
        if part is not None and part < self.tests and part % self.block:
            yield "execution.part_tests", f"a multiple of the {self.block} of influence.block", part


class Recorded(Common):
    """The whole configuration of an experiment that trains under a recorder."""

    data: Samples
    train: Training
    select: Select
    verify: Verify
    influence: Influence
