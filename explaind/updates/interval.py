"""Every update between two checkpoints of a run that can be repeated, decomposed: what subsampling leaves out.

A checkpoint holds all that its run needs to go on, so the interval is repeated from there with the batches that the run saw, by
torch's own optimizer; its end is compared with the next checkpoint. Notation: k is the checkpoint's step, j runs over the
interval. Besides the three terms of update j, the part of its momentum that is the batch of update k is followed (F.3
extrapolates it):

    u_{k→j} = ρ_j κ_k (Π_{i=k+1..j} μ_i) · P_j c_k g_k        (Adam: α_j (1−β1) β1^{j−k} / (1−β1^{j+1}) · P_j c_k g_k)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import xarray as xr
from torch import Tensor, nn

from explaind.checkpoints import Checkpoint, TrainingState
from explaind.features.quadrature import Accuracy
from explaind.features.units import Units
from explaind.runtime.durable import section
from explaind.runtime.progress import track
from explaind.runtime.training_state import restore_training_state, training_state
from explaind.updates.checks import check_samples_per_pass
from explaind.updates.explain import to_dataset
from explaind.updates.gradients import sum_gradients
from explaind.updates.path import Losses, add_gradient, integrate
from explaind.updates.terms import Update, make_update

__all__ = ["RepeatableRun", "explain_interval"]


class RepeatableRun(Protocol):
    """A training run between two updates, which goes on from there exactly as it once did.

    Attributes:
        model: at the parameters of the last update.
        optimizer: torch's, with its moments.
        done: the number of updates made.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    done: int

    def state(self) -> TrainingState:
        """Parameters, moments and options of the next update."""

    def apply(self) -> float:
        """Make the next update with the gradient that the parameters hold; the norm of the gradient before clipping."""


def explain_interval(
    run: RepeatableRun,
    losses: Losses,
    batch: Callable[[int], Tensor],
    following: Checkpoint,
    heldout: Tensor,
    units: Units,
    accuracy: Accuracy,
    *,
    samples_per_pass: int,
) -> xr.Dataset:
    """Decompose every update up to the next checkpoint.

    Args:
        run: at a checkpoint with moments; it is moved on to the next one.
        losses: (model, samples) → the loss of each sample, as the run computes it.
        batch: number of an update → its samples [B, …], in the run's own order.
        following: the next checkpoint.
        heldout: samples whose mean loss is explained [n, …].
        units, accuracy, samples_per_pass: as of `integrate`.

    Returns:
        Per update (`update`: its number): `score` (update, term, unit), `change`, `reconstruction`, `residual`, `passes`, `lr`,
        `train_loss`, `replay` (largest relative l2 error of a tensor between the sum of the terms and torch's own update), and
        `later` (update, unit): contribution of the first update's batch through momentum, 0 at the first. Attribute `arrival`:
        distance between the interval's end and the next checkpoint, as a share of the distance between the two checkpoints.
    """
    check_samples_per_pass(samples_per_pass)
    explained: list[xr.Dataset] = []
    origin = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    steps = range(run.done, following.hyperparameters.step)
    first: _Followed | None = None
    kept = section("interval")
    if (state := kept.load()) is not None:
        explained, first, run.done = state["explained"], _Followed(*state["followed"]), state["done"]
        restore_training_state(run.model, run.optimizer, state["training"])
    options = run.optimizer.param_groups[0]

    def present() -> dict[str, Any]:
        return {
            "explained": explained,
            "followed": (first.entered, first.left),
            "done": run.done,
            "training": training_state(run.model, run.optimizer),
        }

    for step in track(steps[len(explained) :], description="interval", unit="update"):
        update, gradient, loss = _own_update(run, losses, batch(step))
        rows = [] if first is None else [first.row(update)]
        parts = integrate(
            update,
            run.model,
            losses,
            heldout,
            units,
            accuracy,
            samples_per_pass=samples_per_pass,
            rows=rows,
        )
        dataset = to_dataset(parts, units).drop_dims(["nodes", "heldout", "place"])
        later = parts.scores[3] if rows else torch.zeros(units.size, dtype=torch.float64)
        replay = _step(run, update, gradient)
        dataset = dataset.assign(later=("unit", later.cpu().numpy()), replay=replay, train_loss=loss)
        explained.append(dataset.assign(lr=options["lr"]))
        first = first or _Followed.begin(update, gradient)
        kept.offer(present)
    together = xr.concat(explained, xr.Variable("update", list(steps)), data_vars="all")
    return together.assign_attrs(
        arrival=_arrival(run.model, origin, following),
        **({"betas": list(options["betas"])} if "betas" in options else {}),
    )


@dataclass
class _Followed:
    """The batch of one update, on its way through the momentum of later ones.

    Attributes:
        entered: c_k g_k of the update k of this batch, by name.
        left: κ_k Π μ_j, by name: what is left in the buffer of a gradient that entered it at k.
    """

    entered: dict[str, Tensor]
    left: dict[str, float]

    @classmethod
    def begin(cls, update: Update, gradient: Mapping[str, Tensor]) -> _Followed:
        """From the update and g_k before clipping, by name, which is overwritten by c_k g_k."""
        entered = {name: part.mul_(update.clip) for name, part in gradient.items()}
        return cls(entered, {name: scalars.kappa[0] for name, scalars in update.coefficients.items()})

    def row(self, update: Update) -> dict[str, Tensor]:
        """u_{k→j} of the next update j, in the memory of its P_j."""
        for name, scalars in update.coefficients.items():
            self.left[name] *= scalars.mu[0]
        row = {}
        for name, entered in self.entered.items():
            p = update.preconditioner.get(name)  # none: P = 1
            scale = update.coefficients[name].rho[0] * self.left[name]
            row[name] = entered * scale if p is None else p.mul_(entered).mul_(scale)
        return row


def _own_update(
    run: RepeatableRun, losses: Losses, samples: Tensor
) -> tuple[Update, dict[str, Tensor], float]:
    """The terms of the run's next update, its gradient before clipping, and its loss."""
    gradient = sum_gradients(run.model)
    # One pass, as the run makes it: the order of float sums is the run's.
    each = add_gradient(
        run.model, losses, samples, len(samples), lambda name, part: gradient[name].add_(part)
    )
    whole_gradient = {name: part.clone() for name, part in gradient.items()}
    start = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    update = make_update(run.state(), start, gradient, keep_preconditioner=True)
    return update, whole_gradient, float(each.mean())


@torch.no_grad()
def _step(run: RepeatableRun, update: Update, gradient: Mapping[str, Tensor]) -> float:
    """Let torch make the update; the largest relative l2 error of a tensor's terms against it."""
    end = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    update.place(run.model, 0.0)
    for name, parameter in run.model.named_parameters():
        parameter.grad = gradient[name].to(parameter.dtype, copy=True)
    run.apply()
    run.optimizer.zero_grad()
    return max(
        float((p - end[name]).norm() / (p - update.start[name]).norm().clamp_min(1e-30))
        for name, p in run.model.named_parameters()
    )


@torch.no_grad()
def _arrival(model: nn.Module, origin: Mapping[str, Tensor], following: Checkpoint) -> float:
    error = distance = 0.0
    for name, parameter in model.named_parameters():
        there = following.weight(name).to(parameter)
        error += float((parameter - there).double().square().sum())
        distance += float((origin[name] - there).double().square().sum())
    return (error / distance) ** 0.5
