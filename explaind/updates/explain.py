"""Explain one simulated update: what its batch, its momentum and its weight decay do to a held-out loss, by unit of the model."""

from __future__ import annotations

import numpy as np
import xarray as xr
from torch import Tensor, nn

from explaind.checkpoints import Checkpoint
from explaind.features.quadrature import Accuracy
from explaind.features.sources import as_tensor
from explaind.features.units import Units, make_units
from explaind.updates.batch import batch_update, compute_update, prepared
from explaind.updates.checks import check_model, check_samples, check_samples_per_pass, check_units
from explaind.updates.path import Decomposition, Losses, integrate
from explaind.updates.terms import TERMS

__all__ = ["batch_update", "explain_update", "to_dataset", "unit_coordinates"]


def explain_update(
    checkpoint: Checkpoint,
    model: nn.Module,
    losses: Losses,
    train: Tensor,
    heldout: Tensor,
    *,
    units: Units | None = None,
    relative_tolerance: float = 1e-3,
    max_nodes: int = 63,
    min_nodes: int = 1,
    samples_per_pass: int = 16,
) -> xr.Dataset:
    """One update of AdamW, Adam or SGD from a checkpoint, on a batch of samples, decomposed (Remark F.3 of the paper).

    Groups of parameters may differ in any option. What torch skips is skipped: a parameter that requires no gradient, or that the
    batch's loss does not depend on, is neither decayed nor moved by its momentum. Adam's and SGD's weight decay is coupled: the
    term `regularization` is what this update's θ enters with, through P of the whole update; decay of earlier updates is in the
    buffer and so in `momentum`, with their gradients.

    Checked before the expensive work, on the first and the last sample of both sets: losses are one number for each sample; the
    same at a second evaluation, with no random number drawn; independent of buffers that the forward pass changes, and of the
    other samples; gradients of samples add up; the forward pass changes no parameter and no sample. Then every training sample's
    loss is compared with its loss among other neighbours. Cost: at most 24 forward passes of one sample, three forward-backwards
    of one, and one forward pass over the batch. Not detected: held-out samples that mix although the first and the last do not
    (samples of one pass then change each other's scores).

    Held at once: the model, θ, u_batch and u_momentum (and with Adam's weight decay one factor per parameter), in float32 even
    where the model is not, one tensor's gradient, and a copy of the model's buffers; of the optimizer's state no more than one
    tensor beyond that, with what forming P of it takes.

    Args:
        checkpoint: parameters, moments and hyperparameters (`explaind.open_checkpoint`, `explaind.TrainingState`).
        model: of the checkpoint's shape, on any device and in any floating dtype. It is left at the checkpoint's parameters; its
            buffers, gradients, requires_grad and training modes, and the generators of random numbers, are as before, also after
            an error. Other attributes that its forward pass sets are not put back.
        losses: (model, samples [n, …]) → the loss of each sample [n].
        train: samples of the update's batch; its loss is their mean.
        heldout: samples whose mean loss is explained.
        units: what contributions are resolved into; by default the parameter tensors.
        relative_tolerance: accepted |residual| as a share of |change| (of `influence`, `tolerance` is absolute, in units of the
            output). On a halved path the errors of all stretches add up; what is below the resolution of the loss in the model's
            precision is accepted.
        max_nodes: most backward passes over the held-out samples, in all: they are one row, with the same nodes.
        min_nodes: nodes at least: 1, 3 or 7.
        samples_per_pass: samples in one forward and backward pass; it bounds the memory of activations.

    Returns:
        `score` (term, unit): contributions to the change of the held-out loss, in units of the loss (negative ones lower it);
        `change`, `reconstruction` and `residual` with change = reconstruction + residual; `by_nodes` (nodes): the
        reconstruction with 1, 3, … nodes on the whole path; `node`, `weight` (place): the quadrature that gave the scores;
        `passes` over the held-out samples; `before`, `after` (heldout): losses at both ends; scalars `train_loss`,
        `gradient_norm`, `clip`; unit coordinates `parameter`, `component`, `depth`, `projection`, `head`. Attributes `optimizer`,
        `step` (−1 for SGD, which does not count), `lr` (a list where groups differ), `skipped` (parameters that are not moved),
        and `notes` of the checkpoint's readers.

    Raises:
        DataError: no samples, samples that are no tensor, losses that are not one for each sample, or nothing to be moved.
        QueryError: the loss of a sample is no function of parameters and sample alone; units that do not fit.
        RecordingError: a module that, in training mode, draws random numbers or mixes samples.
        StoreError: the checkpoint does not fit the model, or its optimizer's update cannot be explained.
        TrainingError: the gradient or a loss is not finite.
        ConfigError: a tolerance or a number is out of its range.
    """
    accuracy = Accuracy(relative_tolerance, max_nodes, min_nodes)
    check_samples_per_pass(samples_per_pass)
    train, heldout = as_tensor(train, "training"), as_tensor(heldout, "held-out")
    check_samples("training", train)
    check_samples("held-out", heldout)
    check_model(model)
    units = units or make_units({name: tuple(p.shape) for name, p in model.named_parameters()})
    check_units(units, model)
    options = checkpoint.hyperparameters
    with prepared(checkpoint, model, losses, train, heldout) as (start, rehearsal):
        losses = rehearsal.losses
        update, train_losses = compute_update(checkpoint, start, model, losses, train, samples_per_pass)
        rehearsal.check_again(model, train, train_losses, samples_per_pass)
        decomposition = integrate(
            update, model, losses, heldout, units, accuracy, samples_per_pass=samples_per_pass
        )
    skipped = [name for name, _ in model.named_parameters() if name not in update.start]
    rates = options.lr
    return (
        to_dataset(decomposition, units)
        .assign(
            train_loss=float(train_losses.mean()),
            gradient_norm=update.gradient_norm,
            clip=update.clip,
        )
        .assign_attrs(
            checkpoint=checkpoint.name,
            optimizer=options.optimizer,
            step=-1 if options.step is None else options.step,
            lr=list(rates) if isinstance(rates, tuple) else rates,
            skipped=skipped,
            notes=" ".join(getattr(checkpoint, "notes", ())),
            tolerance=relative_tolerance,
        )
    )


def unit_coordinates(units: Units) -> dict[str, tuple[str, np.ndarray]]:
    """The units' coordinates as xarray takes them."""
    return {name: ("unit", np.asarray(values)) for name, values in units.coordinates().items()}


def to_dataset(decomposition: Decomposition, units: Units) -> xr.Dataset:
    """A decomposition as labelled arrays (see `explain_update`)."""
    integral, scores = decomposition.integral, decomposition.scores[: len(TERMS)]
    return xr.Dataset(
        {
            "score": (("term", "unit"), scores.cpu().numpy()),
            "change": decomposition.change,
            "reconstruction": float(scores.sum()),
            "residual": float(integral.residual),
            "passes": int(integral.nodes),
            "by_nodes": ("nodes", list(integral.by_nodes.values())),
            "node": ("place", list(integral.positions)),
            "weight": ("place", list(integral.weights)),
            "before": ("heldout", decomposition.before.cpu().numpy()),
            "after": ("heldout", decomposition.after.cpu().numpy()),
        },
        coords={"term": list(TERMS), "nodes": list(integral.by_nodes), **unit_coordinates(units)},
    )
