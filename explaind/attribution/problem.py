"""Everything an algorithm needs to answer a query, checked once, before any expensive loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from explaind.attribution.chosen import Chosen, choose
from explaind.attribution.query import Query, select_steps
from explaind.attribution.replay_errors import Replay
from explaind.attribution.replayed import open_run
from explaind.errors import QueryError
from explaind.features.functional import Forward, FunctionalModel, Value
from explaind.features.gradients import BatchGradient, TrainingGradients, batch_of
from explaind.features.groups import Partition, make_partition
from explaind.features.independence import TOGETHER, check_gradients, check_outputs
from explaind.features.masked import Masked, with_masks
from explaind.features.packing import Packings
from explaind.features.penalty import Penalty, PenaltyGradient
from explaind.features.samples import Samples
from explaind.features.targets import NEED_LABELS, Loss, Target, fit, make_value
from explaind.ledger import Average, Ledger
from explaind.ledger import Path as ParameterPath
from explaind.recording.trajectory import Trajectory
from explaind.runtime.device import find_device

CHECK_BLOCK = 256  # test samples evaluated at once while the target is checked
FLOAT32_FLOOR = 1e-3  # below this tolerance, float32 rounding along the path is no longer negligible


@dataclass(frozen=True)
class Problem:
    """A query with the run, model and samples that it is about.

    Attributes:
        trajectory, query, test: the run, the query, the explained samples.
        steps: the explained updates, rising.
        ledger, model, value, partition: the update's terms, the model and target as pure functions, the groups, all in
            `dtype`: float64 for float64 runs and for tolerances below 1e-3, else float32.
        gradients: of the training samples; None if no training set was given.
        outputs: O, the number of columns of the target.
        replay: how far the updates are from what was recorded; None before that was checked.
        chosen: the training samples on the train axis; None for all.
        path: the points between which the explained model moves: θ_s, or on the way to an average of them.
        masks: seed of the random numbers with which the test samples are evaluated; None in evaluation mode.
        half: what half precision leaves open between updates and the sum over their samples, relative to the update.
    """

    trajectory: Trajectory
    query: Query
    test: Samples
    steps: tuple[int, ...]
    dtype: torch.dtype
    ledger: Ledger
    model: FunctionalModel
    value: Value
    partition: Partition
    gradients: TrainingGradients | None
    outputs: int
    path: ParameterPath
    replay: Replay | None = None
    chosen: Chosen | None = None
    half: float = 0.0
    masks: int | None = None

    @property
    def window(self) -> tuple[int, int]:
        """[start, stop) of the explained updates: the window itself, or the whole run for a chosen subset."""
        if isinstance(self.query.steps, slice) or self.query.steps is None:
            return (self.steps[0], self.steps[-1] + 1) if self.steps else (0, 0)
        return (0, self.trajectory.n_steps)

    @property
    def kept_samples(self) -> int:
        """Length of a kept train axis."""
        return self.gradients.items if self.chosen is None else len(self.chosen)

    def values(self, s: int, x: Tensor, y: Tensor | None) -> Tensor:
        """The target's values at ψ_s, which is θ_s without an average, [n, O]."""
        with torch.no_grad():
            return self.value(self.model.layout.unflatten(self.path.parameters(s)), x, y)

    def batch_gradient(self) -> BatchGradient:
        """Recomputes batch gradients; needs the training samples and the loss."""
        if self.gradients is None:
            raise QueryError(
                "This query needs the training samples.", remedy="Pass train=(inputs, targets) and loss_fn."
            )
        return BatchGradient(self.gradients)

    def with_query(self, **changes: Any) -> Problem:
        """The same problem with some fields of the query replaced; the groups are made again."""
        query = replace(self.query, **changes)
        return replace(self, query=query, partition=make_partition(self.model.layout, query.effective_groups))


def make_problem(
    run: Trajectory | Path | str,
    model: nn.Module,
    loss: Loss | None,
    query: Query,
    *,
    train: Any = None,
    test: Any,
    forward: Forward | None = None,
    penalty: Penalty | None = None,
    average: Average | None = None,
) -> Problem:
    """Open the run and check that run, model, samples and query fit together.

    Raises:
        StoreError: the run is missing or damaged, or belongs to another model.
        QueryError: a query that the inputs cannot answer.
        DataError: samples that cannot be used.
        LedgerError: an optimizer option that the ledger does not model; a penalty that the run had and that is not given.
    """
    trajectory = open_run(run, model, loss, train, forward)
    double = trajectory.layout.dtype == torch.float64 or (
        query.nodes is None and query.tolerance < FLOAT32_FLOOR
    )
    dtype = torch.float64 if double else torch.float32
    device = find_device(trajectory.device)
    masked = test if isinstance(test, Masked) else None
    samples = Samples(test if masked is None else masked.samples, "test").to(dtype, device)
    if query.target in NEED_LABELS and samples.targets is None:
        raise QueryError(
            f"The target {query.target!r} needs the test targets.", remedy="Pass test=(inputs, targets)."
        )
    if query.contracts and (train is None or loss is None):
        raise QueryError(
            "Credit to training samples or to their own steps needs the training samples and the loss function.",
            remedy="Pass train=(inputs, targets) and loss_fn.",
        )
    trained = None if train is None or loss is None else Samples(train, "train")
    packings = Packings(one.packing for one in (trained, samples) if one is not None)
    pure = FunctionalModel(model, trajectory, dtype, device, forward, packings=packings)
    if penalty is not None and not trajectory.penalized:
        raise QueryError(
            "A penalty was passed, but the run announced none.",
            expected="penalty=None",
            got=repr(penalty),
            remedy="Announce it while recording: Recorder.penalty(function).",
        )
    ledger = Ledger(trajectory, dtype, device, None if penalty is None else PenaltyGradient(penalty, pure))
    tested = pure
    if masked is not None:
        tested, samples = with_masks(pure, samples, masked, pure.layout.unflatten(ledger.parameters(0)))
    value = make_value(tested, query.target, None if loss is None else fit(loss, tested))
    partition = make_partition(trajectory.layout, query.effective_groups)
    gradients = None
    if trained is not None:
        gradients = TrainingGradients(trajectory, pure, loss, trained)
    steps = select_steps(query.steps, trajectory.n_steps)
    if gradients is not None and query.keeps("train"):
        for s in {steps[0], steps[-1]} if steps else ():
            gradients.check_separable(s)
    chosen = choose(query, 0 if gradients is None else gradients.items)
    outputs = _columns(value, pure.layout.unflatten(ledger.parameters(0)), samples, query.target)
    _check_tests(tested, value, samples, ledger, steps)
    if gradients is not None and query.contracts:
        _check_training(pure, gradients, ledger, steps)
    return Problem(
        trajectory,
        query,
        samples,
        steps,
        dtype,
        ledger,
        pure,
        value,
        partition,
        gradients,
        outputs,
        ParameterPath(ledger, average),
        chosen=chosen,
        masks=None if masked is None else masked.seed,
    )


def _columns(value: Value, theta: dict[str, Tensor], samples: Samples, target: Target) -> int:
    """O, from the first test sample. A target that may read labels is evaluated once on every test sample."""
    parts = blocks(len(samples), CHECK_BLOCK) if target in NEED_LABELS or not isinstance(target, str) else []
    for part in [slice(0, 1), *parts]:
        x, y = samples.take(part)
        try:
            with torch.no_grad():
                values = value(theta, x, y)
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise QueryError(
                "The model, the target or the loss could not be evaluated on the test samples "
                f"{part.start} … {part.stop - 1}.",
                got=f"{type(error).__name__}: {error}",
                remedy="Check the shapes, dtypes and label range of the test samples, and that model and target return "
                "one tensor.",
            ) from error
        if values.dim() != 2 or len(values) != len(x):
            raise QueryError(
                "The target must give one row of values per sample.",
                expected="[n] or [n, M]",
                got=f"{tuple(values.shape)} for {len(x)} samples",
            )
        if not bool(torch.isfinite(values).all()):
            raise QueryError(
                f"The target is not finite on the test samples {part.start} … {part.stop - 1}.",
                remedy="Check the labels; a margin needs at least two outputs.",
            )
    return values.shape[1]


def _check_tests(
    model: FunctionalModel, value: Value, tests: Samples, ledger: Ledger, steps: tuple[int, ...]
) -> None:
    """Does each test sample's value depend on that sample alone, at both ends of the window? See `features.independence`."""
    for s in _ends(steps):
        theta = model.layout.unflatten(ledger.parameters(s))
        check_outputs(value, theta, tests, name="test")
        check_gradients(model, theta, tests.inputs, name="test", precise=model.in_double_precision)


def _check_training(
    model: FunctionalModel, gradients: TrainingGradients, ledger: Ledger, steps: tuple[int, ...]
) -> None:
    """The same of training samples, in evaluation mode."""
    for s in _ends(steps):
        theta, update = model.layout.unflatten(ledger.parameters(s)), min(s, gradients.trajectory.n_steps - 1)
        batch = gradients.trajectory.step(update).batches[0]
        inputs, _ = gradients.train.seen(
            batch.indices[:TOGETHER], None if batch.views is None else batch.views[:TOGETHER]
        )
        plain = gradients.train.holding(inputs)
        with batch_of(update):
            check_outputs(lambda p, x, y: model(p, x).reshape(len(x), -1), theta, plain, name="train")
            check_gradients(model, theta, inputs, name="train", precise=model.in_double_precision)


def _ends(steps: tuple[int, ...]) -> list[int]:
    return sorted({steps[0], steps[-1] + 1}) if steps else []


def blocks(total: int, size: int) -> Sequence[slice]:
    """[0, total) cut into slices of at most `size`."""
    return [slice(i, min(i + size, total)) for i in range(0, total, size)]
