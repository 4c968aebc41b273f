"""Every update between two checkpoints of our own run, made again and decomposed: what subsampling leaves out.

A checkpoint holds all that its run needs to go on, so the interval is repeated from there with the batches that the run saw, by
torch's own optimizer; its end is compared with the next checkpoint. Notation: k is the checkpoint's step, j runs over the
interval. Besides the three terms of update j, the part of its momentum that is the batch of update k is followed (F.3
extrapolates it):

    u_{k→j} = α_j (1−β1) β1^{j−k} / (1−β1^{j+1}) · P_j c_k g_k
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
import xarray as xr
from torch import Tensor

from explaind.checkpoints import Checkpoint, Hyperparameters
from explaind.experiments.eurollm.model import sequence_losses
from explaind.experiments.eurollm.trainer import Trainer
from explaind.runtime.progress import track
from explaind.updates.explain import to_dataset
from explaind.updates.gradients import sum_gradients
from explaind.updates.path import Rule, add_gradient, integrate
from explaind.updates.terms import Update, make_update
from explaind.updates.units import Units

__all__ = ["explain_interval"]


def explain_interval(
    trainer: Trainer, following: Checkpoint, heldout: Tensor, units: Units, rule: Rule
) -> xr.Dataset:
    """Decompose every update up to the next checkpoint.

    Args:
        trainer: at a checkpoint with moments; it is moved on to the next one.
        following: the next checkpoint.
        heldout: sequences whose mean loss is explained [n, T].
        units, rule: as of `integrate`.

    Returns:
        Per update (`update`: its number): `score` (update, term, unit), `change`, `reconstruction`, `residual`, `passes`, `lr`,
        `train_loss`, `replay` (largest relative l2 error of a tensor between the sum of the terms and torch's own update), and
        `later` (update, unit): contribution of the first update's batch through momentum, 0 at the first. Attribute `arrival`:
        distance between the interval's end and the next checkpoint, as a share of the distance between the two checkpoints.
    """
    begin, found = time.perf_counter(), []
    origin = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    steps = range(trainer.done, following.hyperparameters.step)
    first: tuple[int, Mapping[str, Tensor]] | None = None
    for step in track(steps, description="interval", unit="update"):
        update, gradient, loss = _own_update(trainer)
        rows = [] if first is None else [_row_of(first, trainer.hyperparameters(), update)]
        parts = integrate(update, trainer.model, sequence_losses, heldout, units, rule, rows=rows)
        dataset = to_dataset(parts, units).drop_dims(["nodes", "heldout", "place"])
        later = parts.scores[3] if rows else torch.zeros(units.size, dtype=torch.float64)
        replay = _step(trainer, update, gradient)
        dataset = dataset.assign(later=("unit", later.cpu().numpy()), replay=replay, train_loss=loss)
        found.append(dataset.assign(lr=trainer.optimizer.param_groups[0]["lr"]))
        first = first or (step, {name: part.mul_(update.clip) for name, part in gradient.items()})
    together = xr.concat(found, xr.Variable("update", list(steps)), data_vars="all")
    return together.assign_attrs(
        arrival=_arrival(trainer, origin, following),
        betas=list(trainer.hyperparameters().betas),
        seconds=time.perf_counter() - begin,
    )


def _own_update(trainer: Trainer) -> tuple[Update, dict[str, Tensor], float]:
    """The terms of the run's next update, its gradient before clipping, and its loss."""
    gradient = sum_gradients(trainer.model)
    sequences, _ = trainer.batch(trainer.done)
    # One pass, as the run makes it: the order of float sums is the run's.
    whole = Rule(samples_per_pass=len(sequences))
    losses = add_gradient(
        trainer.model, sequence_losses, sequences, whole, lambda name, part: gradient[name].add_(part)
    )
    whole_gradient = {name: part.clone() for name, part in gradient.items()}
    start = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    update = make_update(trainer.state(), start, gradient, keep_preconditioner=True)
    return update, whole_gradient, float(losses.mean())


def _row_of(
    first: tuple[int, Mapping[str, Tensor]], options: Hyperparameters, update: Update
) -> dict[str, Tensor]:
    """u_{k→j}, in the memory of P_j."""
    beta, correction = options.betas[0], 1 - options.betas[0] ** (options.step + 1)
    weight = options.lr * (1 - beta) * beta ** (options.step - first[0]) / correction
    return {name: p.mul_(first[1][name]).mul_(weight) for name, p in update.preconditioner.items()}


@torch.no_grad()
def _step(trainer: Trainer, update: Update, gradient: Mapping[str, Tensor]) -> float:
    """Let torch make the update; the largest relative l2 error of a tensor's terms against it."""
    end = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    update.place(trainer.model, 0.0)
    for name, parameter in trainer.model.named_parameters():
        parameter.grad = gradient[name].to(parameter.dtype, copy=True)
    trainer.apply()
    trainer.optimizer.zero_grad()
    return max(
        float((p - end[name]).norm() / (p - update.start[name]).norm().clamp_min(1e-30))
        for name, p in trainer.model.named_parameters()
    )


@torch.no_grad()
def _arrival(trainer: Trainer, origin: Mapping[str, Tensor], following: Checkpoint) -> float:
    error = distance = 0.0
    for name, parameter in trainer.model.named_parameters():
        there = following.weight(name).to(parameter)
        error += float((parameter - there).double().square().sum())
        distance += float((origin[name] - there).double().square().sum())
    return (error / distance) ** 0.5
