"""Influence of training samples, compared with models trained again without them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

from pydantic import Field

from explaind.config.fields import (
    Count,
    Distinct,
    Natural,
    Part,
    Positive,
    PowerOfThree,
    Seeds,
    Several,
    Weight,
)
from explaind.config.group import Group, Wrong
from explaind.config.recorded import Recorded
from explaind.config.studies.common import NODES, RESIDUAL, TAIL

__all__ = ["METHODS", "Attribution", "Datamodel", "Examples"]

Method = Literal["explaind", "trak", "tracin", "gradient_dot", "influence_function"]
#: Attribution methods of the data study; all but the first are dattri's (`explaind.studies.baseline`).
METHODS: tuple[str, ...] = get_args(Method)


class Attribution(Group):
    """Influence of every training sample."""

    tests: Count = Field(description="explained test samples: the first ones")
    tolerance: Positive = Field(description=RESIDUAL)
    max_nodes: PowerOfThree = Field(description=NODES)
    tail_tolerance: Weight = Field(description=TAIL)

    def wrong(self, whole: Recorded) -> Iterator[Wrong]:
        if self.tests > whole.data.test:
            yield "study.attribution.tests", f"at most the {whole.data.test} test samples", self.tests


class Datamodel(Group):
    """Training again on subsets, and how well each method predicts it."""

    fractions: Distinct[Part] = Field(
        description="shares of the training set on which models are trained again"
    )
    leave_one_out: Natural = Field(description="subsets that leave out one sample")
    subsets: Several = Field(description="subsets of each share")
    seeds: Seeds = Field(description="of the models of each subset")
    seed: Natural = Field(description="of drawing subsets, projections and intervals")
    methods: Distinct[Method] = Field(description="attribution methods: explaind, and those of dattri")
    projection: Count = Field(description="dimension of TRAK's projection")
    checkpoints: Count = Field(description="checkpoints of TracIn")
    hessian_samples: Count = Field(description="influence functions: training samples of the Hessian")
    eigenvectors: Count = Field(description="influence functions: eigenvectors that are kept")
    iterations: Count = Field(description="influence functions: Arnoldi iterations")
    resamples: Several = Field(description="bootstrap samples of the 95 % intervals")

    def wrong(self, whole: Recorded) -> Iterator[Wrong]:
        data, train = whole.data, whole.train
        least = train.batch if train.drop_last and train.batch else 1
        for fraction in self.fractions:
            if round(fraction * data.train) < least:
                expected = f"shares of the training set that leave at least {least} samples"
                yield "study.datamodel.fractions", expected, fraction
        if self.leave_one_out > data.train:
            expected = f"at most the {data.train} training samples"
            yield "study.datamodel.leave_one_out", expected, self.leave_one_out


class Examples(Group):
    """Predictions that are drawn with their most helpful and most harmful training samples."""

    tests: Count = Field(description="predictions: the first ones")
    top: Count = Field(description="training samples on either side")

    def wrong(self, whole: Any) -> Iterator[Wrong]:
        limit = whole.study.attribution.tests
        if self.tests > limit:
            yield "study.examples.tests", f"at most study.attribution.tests, {limit}", self.tests
