"""Models of which only the most important parameters are kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

from pydantic import Field

from explaind.config.fields import (
    Count,
    Distinct,
    Natural,
    Part,
    Positive,
    PowerOfThree,
    Several,
    Share,
    Text,
)
from explaind.config.group import Group, Wrong
from explaind.config.recorded import Recorded
from explaind.config.studies.common import NODES, RESIDUAL

__all__ = ["PRUNING_METHODS", "Pruning"]

PruningMethod = Literal[
    "explaind",
    "filters",
    "filters_unretrained",
    "magnitude",
    "change",
    "gradient_weight",
    "snip",
    "fisher",
    "random",
]
#: Which parameters to keep: `explaind.studies.saliency`, and `explaind.studies.filters`.
PRUNING_METHODS: tuple[str, ...] = get_args(PruningMethod)


class Pruning(Group):
    """Models of which only the most important parameters are kept."""

    output_layer: Text = Field(description="layer that is never pruned")
    methods: Distinct[PruningMethod] = Field(
        description="what decides which parameters are kept: explaind's importance; the largest filters, with and without "
        "retraining; magnitude, size of the change, gradient × weight, SNIP, Fisher, random"
    )
    reset: list[PruningMethod] = Field(
        description="methods whose other parameters are also set back to their initial values, in place of zero; no filters"
    )
    fractions: Distinct[Share] = Field(
        description="shares of the parameters of all other layers that are kept"
    )
    splits: Several = Field(description="random splits of the test set: of one alone there is no interval")
    part: Part = Field(
        description="share of the test set that scores may use; models are evaluated on the rest"
    )
    tests: Count = Field(description="test samples of this part that scores use")
    tolerance: Positive = Field(description=RESIDUAL)
    max_nodes: PowerOfThree = Field(description=NODES)
    retraining: Natural = Field(description="filters: updates of retraining after each removal")
    seed: Natural = Field(description="of splits, random scores and batches of the retraining")

    def wrong(self, whole: Recorded) -> Iterator[Wrong]:
        layers = whole.model.layer_names
        if layers and self.output_layer not in layers:
            yield "study.pruning.output_layer", f"one of {', '.join(layers)}", self.output_layer
        limit = min(round(self.part * whole.data.test), whole.data.test - 1)
        if self.tests > limit:
            yield "study.pruning.tests", f"at most {limit}, a part of the test set", self.tests
        single = [name for name in self.methods if not name.startswith("filters")]
        for name in self.reset:
            if name not in single:
                yield "study.pruning.reset", f"of the chosen methods, some of {', '.join(single)}", name
