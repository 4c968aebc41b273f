"""Options that every experiment has."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le
from pydantic import Field

from explaind.config.fields import Count, Natural, NotNegative, Pair, Positive, Suffix, Text, Weight
from explaind.config.group import Group

__all__ = ["SGD", "AdamW", "Architecture", "Common", "Execution", "Figure", "LayerFigure", "Optimizer"]

_RATE = "learning rate: the peak, where train has a schedule"


class AdamW(Group):
    """Adam with decoupled weight decay, as torch.optim.AdamW."""

    name: Literal["AdamW"] = Field(description="which optimizer; the other keys are its options")
    lr: Positive = Field(description=_RATE)
    weight_decay: NotNegative = Field(
        description="AdamW, decoupled: an update shrinks the parameters by lr times this"
    )
    betas: Pair[Weight] = Field(description="weight of the past in the first and the second moment")
    eps: Positive = Field(description="added to the root of the second moment")


class SGD(Group):
    """Gradient descent with momentum, as torch.optim.SGD."""

    name: Literal["SGD"] = Field(description="which optimizer; the other keys are its options")
    lr: Positive = Field(description=_RATE)
    momentum: Weight = Field(description="weight of the past in the momentum buffer")
    weight_decay: NotNegative = Field(description="SGD: enters the gradient, and so the momentum buffer")


Optimizer = Annotated[AdamW | SGD, Field(discriminator="name")]


class Architecture(Group):
    """Which model. An experiment's own adds its sizes and narrows the name."""

    layer_names: ClassVar[tuple[str, ...]] = ()  # In the order of the model; (): no option names one.
    module_names: ClassVar[
        tuple[str, ...]
    ] = ()  # Paths of modules that options name; (): no option names one.

    name: Text = Field(description="which model; the other keys are its sizes")


class Figure(Group):
    """How figures are drawn."""

    dpi: Annotated[int, Ge(20), Le(1200)] = Field(description="resolution of figures, in dots per inch")


class LayerFigure(Figure):
    """Figures, with the relative regularization influence among them."""

    regularization_stride: Count = Field(
        description="updates between points of the relative regularization influence"
    )


class Execution(Group):
    """How the work is cut: memory and time change with these values, results do not."""

    parts: Count | None = Field(
        description="influence jobs at most, cut over updates or test samples, whichever is cheaper; null: as the next two say"
    )
    part_steps: Count = Field(description="updates in one influence job")
    part_tests: Count | None = Field(
        description="test samples in one influence job, a multiple of influence.block; null: all"
    )
    chunk_steps: Count = Field(description="updates in one chunk of the recorded trajectory")
    retrain_subsets: Count = Field(description="subsets whose models one job trains")
    samples_per_pass: Count = Field(
        description="sequences in one forward and backward pass of a language model"
    )
    rows_mb: Count = Field(description="gradients by language held at once, in MB")
    gpu: Natural = Field(description="GPUs of each job that profits from one")
    save_every: NotNegative = Field(
        description="seconds of work after which a long job keeps its state, to go on from there if it is killed; "
        "0: after every piece"
    )


class Common(Group):
    """What every experiment has. `Recorded` and `FromCheckpoints` are its two kinds."""

    name: Text = Field(description="the experiment: its folder in explaind/experiments and in results")
    title: Text = Field(description="the experiment's name in figures and lists")
    order: int = Field(
        description="place of the experiment among the others: in tables, and when several are run"
    )
    suffix: Suffix = Field(description="ends the file names of the experiment's figures and tables")
    scale: Literal["smoke", "default", "paper"] = Field(
        description="which file of conf/scale/<name> was applied last"
    )
    data: Group
    model: Architecture
    optimizer: Optimizer
    train: Group
    influence: Group
    study: Group
    figure: Figure
    execution: Execution
