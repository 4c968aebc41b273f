"""Explain one simulated update: what its batch, its momentum and its weight decay do to a held-out loss, by unit of the model."""

from __future__ import annotations

import time

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from explaind.checkpoints import Checkpoint
from explaind.errors import DataError
from explaind.recording.checks import module_checks
from explaind.updates.path import Decomposition, Losses, Rule, add_gradient, integrate
from explaind.updates.terms import TERMS, Update, make_update, sum_gradients
from explaind.updates.units import Units, make_units

__all__ = ["batch_update", "explain_update", "take_start", "to_dataset", "unit_coordinates"]


def explain_update(
    checkpoint: Checkpoint,
    model: nn.Module,
    losses: Losses,
    train: Tensor,
    heldout: Tensor,
    *,
    units: Units | None = None,
    rule: Rule | None = None,
) -> xr.Dataset:
    """One AdamW update from a checkpoint, on a batch of samples, decomposed (Remark F.3 of the paper).

    Held at once: the model, θ, u_batch and u_momentum, the last three in float32 even where the model is not, and one tensor's
    gradient; of the optimizer's state no more than one tensor beyond that.

    Args:
        checkpoint: parameters, moments and hyperparameters (`explaind.open_checkpoint`).
        model: of the checkpoint's shape, on any device and in any floating dtype; it is left at the checkpoint's parameters, with
            the gradients it holds.
        losses: (model, samples [n, …]) → the loss of each sample [n].
        train: samples of the update's batch; its loss is their mean.
        heldout: samples whose mean loss is explained.
        units: what contributions are resolved into; by default the parameter tensors.
        rule: tolerance, nodes, and samples per pass.

    Returns:
        `score` (term, unit): contributions to the change of the held-out loss, in units of the loss (negative ones lower it);
        `change`, `reconstruction` and `residual` with change = reconstruction + residual; `by_nodes` (nodes): the
        reconstruction with 1, 3, … nodes on the whole path; `node`, `weight` (place): the quadrature that gave the scores;
        `passes` over the held-out samples; `before`, `after` (heldout): losses at both ends; scalars `train_loss`,
        `gradient_norm`, `clip`; unit coordinates `parameter`, `component`, `depth`, `projection`, `head`.

    Raises:
        DataError: no samples.
        RecordingError: a module that, in training mode, draws random numbers or mixes samples.
        StoreError: the checkpoint does not fit the model.
        TrainingError: the gradient or a loss is not finite.
    """
    begin = time.perf_counter()
    rule = rule or Rule()
    for role, samples in (("training", train), ("held-out", heldout)):
        if len(samples) == 0:
            raise DataError(
                f"There are no {role} samples to explain an update with.", expected="at least one"
            )
    for check in module_checks(model):
        check()  # dropout and batch statistics: the loss would be no function of the parameters
    held = {name: parameter.grad for name, parameter in model.named_parameters()}
    units = units or make_units({name: tuple(p.shape) for name, p in model.named_parameters()})
    update, train_losses = batch_update(checkpoint, model, losses, train, rule)
    try:
        found = integrate(update, model, losses, heldout, units, rule)
    finally:
        update.place(model, 0.0)
        for name, parameter in model.named_parameters():
            parameter.grad = held[name]
    dataset = to_dataset(found, units)
    return dataset.assign(
        train_loss=float(train_losses.mean()),
        gradient_norm=update.gradient_norm,
        clip=update.clip,
    ).assign_attrs(
        checkpoint=checkpoint.name,
        step=checkpoint.hyperparameters.step,
        lr=checkpoint.hyperparameters.lr,
        tolerance=rule.tolerance,
        seconds=time.perf_counter() - begin,
    )


def batch_update(
    checkpoint: Checkpoint,
    model: nn.Module,
    losses: Losses,
    train: Tensor,
    rule: Rule,
    *,
    keep_preconditioner: bool = False,
) -> tuple[Update, Tensor]:
    """The update on one batch, and the loss of each of its samples [n]; the model is loaded and left at the checkpoint.

    Args:
        checkpoint, model, losses, train, rule: as of `explain_update`.
        keep_preconditioner: as of `make_update`.
    """
    checkpoint.load_weights(model)
    start = take_start(checkpoint, model)
    gradient = sum_gradients(model)
    found = add_gradient(model, losses, train, rule, lambda name, part: gradient[name].add_(part))
    return make_update(checkpoint, start, gradient, keep_preconditioner=keep_preconditioner), found


def take_start(checkpoint: Checkpoint, model: nn.Module) -> dict[str, Tensor]:
    """θ by name, in float32 at least, where the model's parameters are."""
    return {
        name: checkpoint.weight(name).to(
            device=parameter.device, dtype=torch.promote_types(parameter.dtype, torch.float32)
        )
        for name, parameter in model.named_parameters()
    }


def unit_coordinates(units: Units) -> dict[str, tuple[str, np.ndarray]]:
    """The units' coordinates as xarray takes them."""
    return {name: ("unit", np.asarray(values)) for name, values in units.coordinates().items()}


def to_dataset(found: Decomposition, units: Units) -> xr.Dataset:
    """A decomposition as labelled arrays (see `explain_update`)."""
    levels = list(found.reconstructed)
    return xr.Dataset(
        {
            "score": (("term", "unit"), found.scores[: len(TERMS)].cpu().numpy()),
            "change": found.change,
            "reconstruction": found.reconstruction,
            "residual": found.residual,
            "passes": found.spent,
            "by_nodes": ("nodes", [found.reconstructed[count] for count in levels]),
            "node": ("place", list(found.nodes)),
            "weight": ("place", list(found.weights)),
            "before": ("heldout", found.before.cpu().numpy()),
            "after": ("heldout", found.after.cpu().numpy()),
        },
        coords={"term": list(TERMS), "nodes": levels, **unit_coordinates(units)},
    )
