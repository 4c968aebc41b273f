"""Options of an experiment that explains single updates from checkpoints, without a recorder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from explaind.config.fields import Accuracy, Count, Names, Natural, NestedNodes, Positive, Text
from explaind.config.group import Group, Wrong
from explaind.config.shared import AdamW, Common

__all__ = ["Checkpoints", "FromCheckpoints", "Pretraining", "UpdateInfluence"]


class Pretraining(Group):
    """Training a language model here; its batches and its schedule."""

    seed: Natural = Field(description="of initial parameters and order of the batches")
    steps: Count = Field(description="updates")
    batch: Count = Field(description="sequences in a batch")
    mix: Accuracy = Field(description="a language's share of a batch grows with its text to this power")
    warmup: Natural = Field(description="updates of linear warm-up")
    decay: Natural = Field(description="updates of linear decay, at the end")
    final: Accuracy = Field(description="share of optimizer.lr that is left at the end")
    clip_norm: Positive | None = Field(description="largest norm of a gradient; null: any")
    checkpoints: Count = Field(description="checkpoints that are kept, evenly spaced")
    threads: Count = Field(
        description="torch threads of the training: the order of float sums depends on them"
    )

    def wrong(self, whole: FromCheckpoints) -> Iterator[Wrong]:
        if self.checkpoints > self.steps:
            yield "train.checkpoints", f"at most train.steps, {self.steps}", self.checkpoints
        if self.warmup + self.decay > self.steps:
            yield "train.decay", f"with train.warmup at most train.steps, {self.steps}", self.decay


class OptimizerState(Group):
    """Where the optimizer's state of a checkpoint is."""

    format: Literal["explaind", "torch", "megatron"] = Field(
        description="explaind's, torch's optimizer.state_dict() of AdamW, or megatron's fused tensors"
    )
    folder: Text | None = Field(
        description="one sub-folder of state per checkpoint; null: beside the weights"
    )


class Checkpoints(Group):
    """Where the explained checkpoints come from."""

    source: Literal["trained", "folder", "hub"] = Field(
        description="trained here, in a folder (one sub-folder each), or on the hub (one revision each)"
    )
    folder: Text | None = Field(description="of the checkpoints, with source=folder")
    repository: Text | None = Field(description="on the hub, with source=hub")
    revisions: Names | None = Field(
        description="of the repository, in the order of training, with source=hub"
    )
    optimizer: OptimizerState

    def wrong(self, whole: FromCheckpoints) -> Iterator[Wrong]:
        required = {"trained": (), "folder": ("folder",), "hub": ("repository", "revisions")}[self.source]
        for key in required:
            if getattr(self, key) is None:
                yield f"checkpoints.{key}", f"a value with checkpoints.source={self.source}", None


class UpdateInfluence(Group):
    """Nested quadrature of high order, then halved stretches, until the residual is small."""

    tolerance: Positive = Field(description="largest residual, as a share of the change of the loss")
    min_nodes: NestedNodes = Field(description="nested nodes at least; above 1 the error can be seen falling")
    max_nodes: Count = Field(description="backward passes at most")
    heldout: Count = Field(description="explained held-out sequences of every language")
    weights: Literal["float32", "bfloat16", "float64"] = Field(
        description="precision of a checkpoint's weights in forward and backward passes"
    )

    def wrong(self, whole: FromCheckpoints) -> Iterator[Wrong]:
        if self.min_nodes > self.max_nodes:
            yield "influence.min_nodes", "at most influence.max_nodes", self.min_nodes


class FromCheckpoints(Common):
    """The whole configuration of an experiment that explains updates from checkpoints."""

    optimizer: AdamW
    train: Pretraining
    checkpoints: Checkpoints
    influence: UpdateInfluence
