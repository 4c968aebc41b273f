"""The update that a checkpoint's optimizer makes on one batch, of a model that is put back afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from explaind.checkpoints import Checkpoint
from explaind.errors import DataError, QueryError
from explaind.updates.checks import check_held
from explaind.updates.gradients import Collected
from explaind.updates.path import Losses, add_gradient
from explaind.updates.preserve import preserved
from explaind.updates.rehearsal import Rehearsal, rehearse
from explaind.updates.terms import Update, make_update

__all__ = ["batch_update", "compute_update", "prepared", "starting_parameters"]


@contextmanager
def prepared(
    checkpoint: Checkpoint, model: nn.Module, losses: Losses, train: Tensor, heldout: Tensor
) -> Iterator[tuple[dict[str, Tensor], Rehearsal]]:
    """Inside, the model is at the checkpoint and the losses were rehearsed: gives θ by name, and the rehearsal.

    At the end the model is at the checkpoint again, and all else of it as it was (`preserved`).

    Raises:
        QueryError: as of `rehearse`; or a buffer changed that no forward pass of the rehearsal had changed.
    """
    with preserved(model) as buffers, torch.inference_mode(False):
        checkpoint.load_weights(model)
        check_held(checkpoint, model)
        start = starting_parameters(checkpoint, model)
        try:
            rehearsal = rehearse(model, losses, train, heldout, start, buffers)
            yield start, rehearsal
            if not rehearsal.losses.moving and (late := buffers.changed()):
                raise QueryError(
                    f"The forward pass changed a buffer now and then: {', '.join(late[:3])}.",
                    expected="buffers that every forward pass changes or none, so that their part in the losses is known",
                    got="no change when the losses were first tried",
                    remedy="Call .eval() on the module that keeps this buffer.",
                )
        finally:
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    if name in start:
                        parameter.copy_(start[name])


def batch_update(
    checkpoint: Checkpoint,
    model: nn.Module,
    losses: Losses,
    train: Tensor,
    samples_per_pass: int,
    *,
    keep_preconditioner: bool = False,
) -> tuple[Update, Tensor]:
    """The update on one batch, and the loss of each of its samples [n]; the model is loaded and left at the checkpoint.

    Args:
        checkpoint, model, losses, train, samples_per_pass: as of `explain_update`.
        keep_preconditioner: as of `make_update`.
    """
    checkpoint.load_weights(model)
    start = starting_parameters(checkpoint, model)
    return compute_update(
        checkpoint, start, model, losses, train, samples_per_pass, keep_preconditioner=keep_preconditioner
    )


def compute_update(
    checkpoint: Checkpoint,
    start: Mapping[str, Tensor],
    model: nn.Module,
    losses: Losses,
    train: Tensor,
    samples_per_pass: int,
    *,
    keep_preconditioner: bool = False,
) -> tuple[Update, Tensor]:
    """As `batch_update`, of a model that is at the checkpoint's θ (`start`, by name).

    Raises:
        DataError: the losses depend on no parameter.
        StoreError: a gradient reaches a parameter whose state the checkpoint lacks.
    """
    gradient = Collected()
    each = add_gradient(model, losses, train, samples_per_pass, gradient.add)
    if not gradient:
        raise DataError(
            "The loss of the training samples depends on no parameter that requires a gradient.",
            expected="a loss that autograd can follow back to the parameters",
            got="no gradient at all",
            remedy="Compute the losses without detach(), .item() and torch.no_grad().",
        )
    checkpoint.hyperparameters.check_moved(gradient.keys(), checkpoint.name)
    return make_update(checkpoint, start, gradient, keep_preconditioner=keep_preconditioner), each


def starting_parameters(checkpoint: Checkpoint, model: nn.Module) -> dict[str, Tensor]:
    """θ by name of what requires a gradient, in float32 at least, where the model's parameters are."""
    return {
        name: checkpoint.weight(name).to(
            device=parameter.device, dtype=torch.promote_types(parameter.dtype, torch.float32)
        )
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
