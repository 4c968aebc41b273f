"""Training-side gradients, in the units in which they entered the update.

The batch loss L(f_1 … f_n) is differentiated through the outputs (Corollary F.1): with δ_k = ∂L/∂f_k, the gradient of the
batch is Σ_k g_k, g_k = δ_k·∇f_θ(x_k). This needs no assumption on the reduction: class weights, label smoothing, sums,
means of ragged batches and losses that couple samples are all inside δ.

Notation: n samples in a batch, O outputs, D parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from explaind.errors import DataError, QueryError
from explaind.features.functional import FunctionalModel
from explaind.features.samples import Samples
from explaind.features.seen import Seen, by_position, whole_samples
from explaind.features.targets import Loss, fit, sample_losses
from explaind.features.training_passes import TrainingPasses
from explaind.recording.gradients import dense
from explaind.recording.trajectory import MicroBatch, Trajectory

KEPT_BYTES = 1 << 26  # of gradients of whole batches


class TrainingGradients:
    """What the batches of a trajectory pushed into the parameters, per batch and per sample.

    Args:
        trajectory: gives θ_s and the samples and weights of each update.
        model: the model in the dtype of the computation.
        loss: the loss function the run used, (outputs, targets) → scalar, with its own reduction. Gradients of whole batches are
            computed in the run's own precision, as they were in training; those of samples in that of the computation.
        train: the training samples, indexed as they were during recording.

    Raises:
        QueryError: the samples have no targets, or a recorded sample index lies outside `train`.
        DataError: the run saw views of its samples, and `train` cannot make them again.
    """

    def __init__(self, trajectory: Trajectory, model: FunctionalModel, loss: Loss, train: Samples) -> None:
        self.trajectory, self.model, self.loss = trajectory, model.in_training(), fit(loss, model)
        model = self.model
        self.own = (
            model if model.dtype == trajectory.layout.dtype else model.converted(trajectory.layout.dtype)
        )
        self._own_loss = self.loss if self.own is model else fit(loss, self.own)
        self.train = train.to(model.dtype, model.device)
        if train.targets is None:
            raise QueryError("The training samples have no targets.", expected="a pair (inputs, targets)")
        needed = 1 + trajectory.highest_index
        if needed > len(train):
            raise QueryError(
                "The recording refers to training samples that were not passed.",
                expected=f"at least {needed} training samples",
                got=f"{len(train)}",
                remedy="Pass the whole training set in the order whose indices were recorded.",
            )
        _check_views(trajectory, self.train)
        self.passes = TrainingPasses(model)
        self.kept: dict[int, Tensor] = {}  # gradients of whole batches, by update

    def parameters(self, s: int) -> dict[str, Tensor]:
        """θ_s by name, in the dtype of the computation."""
        return self.model.layout.unflatten(
            self.trajectory.parameters(s).to(self.model.device, self.model.dtype)
        )

    def check_separable(self, s: int) -> None:
        """Refuse an update whose samples have no gradients of their own.

        Raises:
            QueryError: they were normalised together.
        """
        if any(self.passes.of(batch).mixes for batch in self.trajectory.step(s).batches):
            raise _mixed(s)

    @property
    def items(self) -> int:
        """Length of the train axis: of the samples, or of all their positions."""
        return len(self.train) * (self.train.positions or 1)

    def cotangents(self, s: int) -> list[Seen]:
        """What the samples of each micro-batch of update s bring to a gradient."""
        theta = self.parameters(s)
        batches = []
        for batch in self.trajectory.step(s).batches:
            x, y = self.train.seen(batch.indices, batch.views)
            forward = self.passes.of(batch)
            if forward.mixes:
                raise _mixed(s)
            with torch.no_grad(), batch_of(s):
                outputs, noise = forward.outputs(theta, x, batch.forward)
            with torch.enable_grad(), batch_of(s):  # whatever the caller's own mode is
                outputs = outputs.detach().requires_grad_()
                with forward.precision():
                    loss = self.batch_loss(batch, outputs, y, own=forward.rounded)
                with forward.precision(backward=True):
                    (delta,) = torch.autograd.grad(loss, outputs)
            bring = batch.indices.to(x.device), (x, delta, *noise), forward
            positions = self.train.positions
            batches.append(whole_samples(*bring) if positions is None else by_position(*bring, positions))
        return batches

    def batch_loss(self, batch: MicroBatch, outputs: Tensor, y: Tensor, *, own: bool) -> Tensor:
        """L, what the backward pass of a micro-batch was of, in the precision of the run or of the computation."""
        loss = self._own_loss if own else self.loss
        if own and y.is_floating_point():
            y = y.to(self.own.dtype)
        if batch.weights is None:
            return loss(outputs, y)
        if isinstance(batch.weights, Tensor):
            return (sample_losses(loss, outputs, y) * batch.weights.to(outputs)).sum()
        return batch.weights * loss(outputs, y)


class BatchGradient:
    """g_s = Σ_k g_{s,k} before clipping, flat [D]: one ordinary backward pass per micro-batch, as in training."""

    def __init__(self, gradients: TrainingGradients) -> None:
        self._of = gradients

    def __call__(self, s: int) -> Tensor:
        """Read it, do not write to it: the check of an update and what is credited to its batch share one."""
        kept = self._of.kept
        if s not in kept:
            gradient = self.at(s, self.batches(s))
            if (len(kept) + 1) * gradient.numel() * gradient.itemsize > KEPT_BYTES:
                return gradient
            kept[s] = gradient
        return kept[s]

    def batches(self, s: int) -> tuple[MicroBatch, ...]:
        """The micro-batches that were announced for update s."""
        return self._of.trajectory.step(s).batches

    def at(self, s: int, batches: tuple[MicroBatch, ...]) -> Tensor:
        """The gradient of these micro-batches together at θ_s, [D], in the precision of the computation."""
        gradient = self.at_parameters(self._of.trajectory.parameters(s), s, batches)
        return gradient.to(self._of.model.dtype)

    def at_parameters(self, flat: Tensor, s: int, batches: tuple[MicroBatch, ...]) -> Tensor:
        """The same at other parameters [D], in the run's own precision; s is for messages."""
        of = self._of
        named = of.own.layout.unflatten(flat.to(of.own.device, of.own.dtype))
        theta = {name: value.clone().requires_grad_() for name, value in named.items()}
        leaves = [theta[name] for name in of.own.layout.names]
        total: Tensor | None = None
        for batch in batches:
            x, y = of.train.seen(batch.indices, batch.views)
            x = x.to(of.own.dtype) if x.is_floating_point() else x
            forward = of.passes.of(batch)
            with torch.enable_grad(), batch_of(s):
                outputs = forward.trained(theta, x, batch.forward)
                with forward.precision():
                    loss = of.batch_loss(batch, outputs, y, own=True)
                with forward.precision(backward=True):
                    gradients = torch.autograd.grad(loss, leaves, materialize_grads=True)
            gradient = torch.cat([dense(g).reshape(-1) for g in gradients])
            total = gradient if total is None else total + gradient
        return torch.zeros_like(flat) if total is None else total


def _mixed(s: int) -> QueryError:
    return QueryError(
        f"The training samples of update {s} were normalised together, so none has a gradient of its own.",
        expected="a model that treats each sample alone where training samples are resolved",
        got="batch normalisation in training mode",
        remedy="Ask with all training samples summed: keep step, layer, parameter, test and output, and not train. Or train with "
        "GroupNorm or LayerNorm.",
    )


def _check_views(trajectory: Trajectory, train: Samples) -> None:
    """Make the views of one batch twice: what cannot be repeated cannot be replayed."""
    if not trajectory.has_views:
        return
    steps = (trajectory.step(s).batches for s in range(trajectory.n_steps))
    batch = next(batch for batches in steps for batch in batches if batch.views is not None)
    first, again = (train.seen(batch.indices, batch.views)[0] for _ in range(2))
    if not torch.equal(first, again):
        raise DataError(
            "The views of the training samples cannot be replayed: made twice, they differ.",
            expected="inputs that follow from the sample and its recorded view alone",
            got="different inputs from the same views",
            remedy="Let the view hold all that is random: a flag, an offset, or the seed of a generator of its own.",
        )


@contextmanager
def batch_of(s: int) -> Iterator[None]:
    """Say in words that the batch of update s does not fit the model or the loss."""
    try:
        yield
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise QueryError(
            f"The model or the loss could not be evaluated on the batch of update {s}.",
            got=f"{type(error).__name__}: {error}",
            remedy="Pass the training samples with the shapes, dtypes and labels that the run used, and its loss, "
            "a function of (outputs, targets).",
        ) from error
