"""Options of the studies, one model each. An experiment's `study` group holds those of the studies that it ends in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

from pydantic import Field

from explaind.config.fields import (
    Count,
    Distinct,
    Items,
    Natural,
    Pair,
    Part,
    Positive,
    PowerOfThree,
    Seeds,
    Several,
    Share,
    Starts,
    Text,
    Weight,
)
from explaind.config.group import Group, Wrong
from explaind.config.recorded import Recorded

__all__ = [
    "CHOICES",
    "METHODS",
    "Attribution",
    "Datamodel",
    "Examples",
    "Frequencies",
    "Intervals",
    "Kernel",
    "Languages",
    "Outputs",
    "Periodicity",
    "Quadrature",
    "Sparse",
    "Windows",
]

Method = Literal["explaind", "trak", "tracin", "gradient_dot", "influence_function"]
#: Attribution methods of the data study; all but the first are dattri's (`explaind.studies.baseline`).
METHODS: tuple[str, ...] = get_args(Method)

Choice = Literal["log_probabilities", "logits", "true_class"]
#: What of the outputs can be explained (`explaind.studies.choices`): the first is the paper's.
CHOICES: tuple[str, ...] = get_args(Choice)

_RESIDUAL = "largest residual of each step, test sample and output"
_NODES = "midpoint nodes at most"
_TAIL = "weight in the momentum at which updates before the explained ones are cut off"


class Windows(Group):
    """Stretches of training that are explained sample by sample."""

    positions: Starts = Field(
        description="name → first update of a window, in a run that stops at reference_stop"
    )
    width: Count = Field(description="updates in a window")
    reference_stop: Count = Field(description="positions are scaled by the run's last update over this one")

    def wrong(self, whole: Recorded) -> Iterator[Wrong]:
        for name, start in self.positions.items():
            if start + self.width > self.reference_stop:
                expected = f"a window that ends by reference_stop {self.reference_stop}"
                yield f"study.windows.positions.{name}", expected, start


class Kernel(Group):
    """The test × train kernels of the windows."""

    train: Count = Field(description="training samples of a kernel: the first ones")
    tests: Several = Field(description="test samples of a kernel: the first ones")
    tolerance: Positive = Field(description="largest residual of each row, which sums all outputs")
    max_nodes: PowerOfThree = Field(description=_NODES)
    tail_tolerance: Weight = Field(description=_TAIL)

    def wrong(self, whole: Recorded) -> Iterator[Wrong]:
        for key, limit in (("train", whole.data.train), ("tests", whole.data.test)):
            if (got := getattr(self, key)) > limit:
                yield f"study.kernel.{key}", f"at most the {limit} samples of the data set", got


class Quadrature(Group):
    """Baselines of a fixed number of nodes."""

    nodes: Distinct[Count] = Field(description="numbers of midpoint nodes, one baseline each")
    tests: Items[Count] = Field(description="how many tests each of them explains")

    def wrong(self, whole: Recorded) -> Iterator[Wrong]:
        limit = whole.data.test
        if len(self.nodes) != len(self.tests) or max(self.tests) > limit:
            expected = f"for each of nodes {self.nodes} at most {limit} tests"
            yield "study.quadrature.tests", expected, self.tests


class Periodicity(Group):
    """Periods in kernels and parameters."""

    alpha: Positive = Field(description="penalty of the Lasso")
    periods: Pair[Several] = Field(description="the first period and the last")

    def wrong(self, whole: Any) -> Iterator[Wrong]:
        if self.periods[0] > self.periods[1]:
            yield "study.periodicity.periods", "the first period, then the last", self.periods
        windows = getattr(whole, "study", None) and getattr(whole.study, "windows", None)
        if windows is not None and "late" not in windows.positions:
            expected = "a window called late: study.periodicity describes it"
            yield "study.windows.positions", expected, list(windows.positions)


class Outputs(Group):
    """What of the outputs is explained: the same figures for several choices (docs/method.md, section 10)."""

    choices: Distinct[Choice] = Field(description="what is explained")
    module: Text = Field(description="path of the module whose activation is the logits")
    stride: Count = Field(description="updates from one explained update to the next (figure 3a)")
    tests: Count = Field(description="test samples of importances and similarities: the first ones")
    kernel_tests: Several = Field(description="test samples of a kernel: the first ones")
    width: Count = Field(description="updates of a window that are explained: its last ones")
    tolerance: Positive = Field(description="largest residual of each step, test sample and output")
    max_nodes: PowerOfThree = Field(description=_NODES)
    tail_tolerance: Weight = Field(description=_TAIL)

    def wrong(self, whole: Any) -> Iterator[Wrong]:
        for key in ("tests", "kernel_tests"):
            if (got := getattr(self, key)) > whole.data.test:
                yield f"study.outputs.{key}", f"at most the {whole.data.test} test samples", got
        if self.width > whole.study.windows.width:
            expected = f"at most study.windows.width, {whole.study.windows.width}"
            yield "study.outputs.width", expected, self.width


class Frequencies(Group):
    """Power of every frequency over training."""

    parameters: Distinct[Text] = Field(
        description="matrices whose first rows belong to the numbers 0…modulus − 1"
    )
    stride: Count = Field(description="updates from one that is measured to the next")


class Attribution(Group):
    """Influence of every training sample."""

    tests: Count = Field(description="explained test samples: the first ones")
    tolerance: Positive = Field(description=_RESIDUAL)
    max_nodes: PowerOfThree = Field(description=_NODES)
    tail_tolerance: Weight = Field(description=_TAIL)

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


class Sparse(Group):
    """Decompositions that leave out updates."""

    shares: Distinct[Share] = Field(description="shares of kept updates")
    orders: Several = Field(description="random orders of the updates")
    seed: Natural = Field(description="of the random orders")

    def wrong(self, whole: Recorded) -> Iterator[Wrong]:
        if not getattr(whole.data, "heldout", 0):
            yield "data.heldout", "at least 1: the loss of held-out samples ranks the updates", 0


class Languages(Group):
    """Influence of every training language."""

    stride: Count = Field(description="checkpoints from one that is resolved by language to the next")


class Intervals(Group):
    """Every update from a checkpoint to the next."""

    stride: Count = Field(description="checkpoints from one that begins an explained interval to the next")
    tolerance: Positive = Field(
        description="largest residual of an update, as a share of the change of the loss"
    )
    max_nodes: Count = Field(description="backward passes of an update at most")
