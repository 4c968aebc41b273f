"""Options of the studies, one model each. An experiment's `study` group holds those of the studies that it ends in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args

from pydantic import Field

from explaind.config.changes import changed
from explaind.config.fields import (
    AtLeastFive,
    Count,
    Distinct,
    Items,
    ListsByName,
    Natural,
    Pair,
    Part,
    Positive,
    PowerOfThree,
    Resamples,
    Seeds,
    Several,
    Share,
    Starts,
    Text,
    Weight,
)
from explaind.config.group import Group, Wrong
from explaind.config.recorded import Recorded
from explaind.config.validate import validate
from explaind.errors import ConfigError

__all__ = [
    "CHOICES",
    "METHODS",
    "PART_KINDS",
    "PRUNING_METHODS",
    "Attribution",
    "Datamodel",
    "Examples",
    "Frequencies",
    "Intervals",
    "Kernel",
    "Languages",
    "Outputs",
    "Periodicity",
    "Proportionality",
    "Pruning",
    "Quadrature",
    "Runs",
    "Sparse",
    "Windows",
]

Method = Literal["explaind", "trak", "tracin", "gradient_dot", "influence_function"]
#: Attribution methods of the data study; all but the first are dattri's (`explaind.studies.baseline`).
METHODS: tuple[str, ...] = get_args(Method)

LEAST_SEEDS = 3  # of an interval over seeds
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
PartKind = Literal["layer", "head", "neuron", "parameter"]
#: Groups of parameters on which interventions act (`explaind.studies.parts`).
PART_KINDS: tuple[str, ...] = get_args(PartKind)
Choice = Literal["log_probabilities", "logits", "true_class"]
#: What of the outputs can be explained (`explaind.studies.choices`): the first is the paper's.
CHOICES: tuple[str, ...] = get_args(Choice)

_RESIDUAL = "largest residual of each step, test sample and output"
_NODES = "midpoint nodes at most"
_TAIL = "weight in the momentum at which updates before the explained ones are cut off"


def _unknown_modules(key: str, paths: Iterable[str], whole: Any) -> Iterator[Wrong]:
    """Modules that the model does not have, where its options name all that can be asked for."""
    known = type(whole.model).module_names
    for path in paths:
        if known and path not in known:
            yield key, f"one of {', '.join(known)}", path


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


class Runs(Group):
    """The same explanation of several seeds, in the experiment's own setting and in others."""

    seeds: Seeds = Field(description="of the runs in each setting")
    settings: ListsByName = Field(
        description="name of a setting → options that it changes, such as optimizer.weight_decay=1.0; the first changes none"
    )
    reduced: list[Text] = Field(
        description="options changed in all of these runs, so that explaining them costs less"
    )

    def wrong(self, whole: Any) -> Iterator[Wrong]:
        if len(self.seeds) < LEAST_SEEDS:
            yield "study.runs.seeds", f"at least {LEAST_SEEDS} seeds, for an interval", self.seeds
        first, *_ = self.settings
        if self.settings[first]:
            expected = "no change: the first setting is the experiment's own"
            yield f"study.runs.settings.{first}", expected, self.settings[first]
        changes = {name: [*self.reduced, *own] for name, own in self.settings.items()}
        if not any(changes.values()):
            return
        plain = whole.model_dump()
        plain["study"]["runs"] |= {"settings": {first: []}, "reduced": []}
        try:
            validate(plain)
        except ConfigError:
            return  # what is wrong without any change is said where it stands
        for name, every in changes.items():
            try:
                validate(changed(plain, every))
            except ConfigError as error:
                expected = f"changes to another valid configuration: {error.problem} {error.expected or ''}"
                yield f"study.runs.settings.{name}", expected, every


class Outputs(Group):
    """What of the outputs is explained: the same figures for several choices (docs/method.md, section 11)."""

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
        yield from _unknown_modules("study.outputs.module", [self.module], whole)


class Frequencies(Group):
    """Power of every frequency over training."""

    parameters: Distinct[Text] = Field(
        description="matrices whose first rows belong to the numbers 0…modulus − 1"
    )
    stride: Count = Field(description="updates from one that is measured to the next")

    def wrong(self, whole: Any) -> Iterator[Wrong]:
        modules = [name.rpartition(".")[0] for name in self.parameters]
        yield from _unknown_modules("study.frequencies.parameters", modules, whole)


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
    tolerance: Positive = Field(description=_RESIDUAL)
    max_nodes: PowerOfThree = Field(description=_NODES)
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


class Sparse(Group):
    """Decompositions that leave out updates."""

    shares: Distinct[Share] = Field(description="shares of kept updates")
    orders: Several = Field(description="random orders of the updates")
    seed: Natural = Field(description="of the random orders")

    def wrong(self, whole: Recorded) -> Iterator[Wrong]:
        if not getattr(whole.data, "heldout", 0):
            yield "data.heldout", "at least 1: the loss of held-out samples ranks the updates", 0


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
    max_nodes: PowerOfThree = Field(description=_NODES)
    seed: Natural = Field(description="of drawing groups, sets and intervals")
    resamples: Resamples = Field(description="bootstrap samples of the 95 % intervals")

    def wrong(self, whole: Any) -> Iterator[Wrong]:
        yield from _unknown_modules("study.proportionality.units", self.units, whole)
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
