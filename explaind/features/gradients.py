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
from torch.func import grad, vmap

from explaind.errors import DataError, QueryError
from explaind.features.batched import Batched
from explaind.features.functional import FunctionalModel, math_attention
from explaind.features.samples import Samples
from explaind.features.targets import Loss, sample_losses
from explaind.recording.trajectory import MicroBatch, Trajectory


class TrainingGradients:
    """What the batches of a trajectory pushed into the parameters, per batch and per sample.

    Args:
        trajectory: gives θ_s and the samples and weights of each update.
        model: the model in the dtype of the computation.
        loss: the loss function the run used, (outputs, targets) → scalar, with its own reduction.
        train: the training samples, indexed as they were during recording.

    Raises:
        QueryError: the samples have no targets, or a recorded sample index lies outside `train`.
        DataError: the run saw views of its samples, and `train` cannot make them again.
    """

    def __init__(self, trajectory: Trajectory, model: FunctionalModel, loss: Loss, train: Samples) -> None:
        self.trajectory, self.model, self.loss = trajectory, model, loss
        self.train = train.to(model.dtype, model.device)
        if train.targets is None:
            raise QueryError("The training samples have no targets.", expected="a pair (inputs, targets)")
        indices = (batch.indices for s in range(trajectory.n_steps) for batch in trajectory.step(s).batches)
        needed = 1 + max((int(part.max()) for part in indices if len(part)), default=-1)
        if needed > len(train):
            raise QueryError(
                "The recording refers to training samples that were not passed.",
                expected=f"at least {needed} training samples",
                got=f"{len(train)}",
                remedy="Pass the whole training set in the order whose indices were recorded.",
            )
        _check_views(trajectory, self.train)
        self._evaluate = Batched(self._pulled, axis=0)

    def parameters(self, s: int) -> dict[str, Tensor]:
        """θ_s by name, in the dtype of the computation."""
        return self.model.layout.unflatten(
            self.trajectory.parameters(s).to(self.model.device, self.model.dtype)
        )

    def cotangents(self, s: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Per micro-batch of update s: sample indices [n], the inputs that were seen [n, …], and δ = ∂L/∂f, [n, …] in the shape
        of the outputs."""
        theta = self.parameters(s)
        batches = []
        for batch in self.trajectory.step(s).batches:
            x, y = self.train.seen(batch.indices, batch.views)
            with torch.no_grad(), batch_of(s):
                outputs = self.model(theta, x)
            with torch.enable_grad(), batch_of(s):  # whatever the caller's own mode is
                outputs.requires_grad_()
                (delta,) = torch.autograd.grad(self.loss_of(batch, outputs, y), outputs)
            batches.append((batch.indices.to(x.device), x, delta))
        return batches

    def samples(self, theta: dict[str, Tensor], x: Tensor, delta: Tensor) -> Tensor:
        """g_k = δ_k·∇f_θ(x_k) of single samples x [n, …], [n, D]."""
        return self._evaluate(list(theta.values()), [x, delta])[0]

    def _pulled(self, *arguments: Tensor) -> list[Tensor]:
        layout = self.model.layout
        theta = dict(zip(layout.names, arguments[:-2], strict=True))

        def pulled(parameters: dict[str, Tensor], x: Tensor, d: Tensor) -> Tensor:
            return (self.model(parameters, x.unsqueeze(0)).squeeze(0) * d).sum()

        gradients = vmap(grad(pulled), in_dims=(None, 0, 0))(theta, *arguments[-2:])
        return [layout.flatten(gradients)]

    def loss_of(self, batch: MicroBatch, outputs: Tensor, y: Tensor) -> Tensor:
        """What the run differentiated for this micro-batch, from its outputs [n, …] and targets [n, …]: a scalar."""
        if batch.weights is None:
            return self.loss(outputs, y)
        if isinstance(batch.weights, Tensor):
            return (sample_losses(self.loss, outputs, y) * batch.weights.to(outputs)).sum()
        return batch.weights * self.loss(outputs, y)


class BatchGradient:
    """g_s = Σ_k g_{s,k} before clipping, flat [D]: one ordinary backward pass per micro-batch, as in training."""

    def __init__(self, gradients: TrainingGradients) -> None:
        self._of = gradients

    def __call__(self, s: int) -> Tensor:
        return self.at(s, self.batches(s))

    def batches(self, s: int) -> tuple[MicroBatch, ...]:
        """The micro-batches that were announced for update s."""
        return self._of.trajectory.step(s).batches

    def at(self, s: int, batches: tuple[MicroBatch, ...]) -> Tensor:
        """The gradient of these micro-batches together at θ_s, [D]."""
        of = self._of
        theta = {name: value.clone().requires_grad_() for name, value in of.parameters(s).items()}
        names = list(of.model.layout.names)
        total = torch.zeros(of.model.layout.size, dtype=of.model.dtype, device=of.model.device)
        for batch in batches:
            x, y = of.train.seen(batch.indices, batch.views)
            with math_attention(), torch.enable_grad(), batch_of(s):
                loss = of.loss_of(batch, of.model(theta, x), y)
                gradients = torch.autograd.grad(loss, [theta[name] for name in names], materialize_grads=True)
            total += torch.cat([g.reshape(-1) for g in gradients])
        return total


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
