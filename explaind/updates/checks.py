"""What an update is explained from: samples, a model and its optimizer's options, and a loss for each sample; else refused."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from explaind.checkpoints import Checkpoint
from explaind.errors import ConfigError, DataError, QueryError, StoreError
from explaind.features.units import Units
from explaind.recording.modules import module_checks
from explaind.updates.path import Losses
from explaind.updates.preserve import Buffers

__all__ = ["Pure", "check_held", "check_model", "check_samples", "check_samples_per_pass", "check_units"]


def check_samples(role: str, samples: Tensor) -> None:
    """Raise DataError unless they are a tensor [n, …] of at least one sample; `role` says which they are."""
    if not isinstance(samples, Tensor) or samples.dim() == 0 or samples.layout != torch.strided:
        raise DataError(
            f"The {role} samples are no tensor whose first axis is the samples.",
            expected="one dense tensor [n, …]",
            got=f"a tensor of shape {list(samples.shape)}, {samples.layout}"
            if isinstance(samples, Tensor)
            else f"{type(samples).__name__}",
            remedy="Pass inputs and targets side by side in one tensor, or the samples' indices, and let losses take them apart.",
        )
    if len(samples) == 0:
        raise DataError(f"There are no {role} samples to explain an update with.", expected="at least one")


def check_samples_per_pass(count: int) -> None:
    """Raise ConfigError unless a pass has at least one sample."""
    if not isinstance(count, int) or count < 1:
        raise ConfigError(
            "samples_per_pass is out of range.", expected="a whole number, 1 or more", got=f"{count}"
        )


def check_model(model: nn.Module) -> None:
    """Refuse a model whose loss cannot be a function of parameters and sample alone, or that has no parameter to move.

    Raises:
        DataError: no parameter requires a gradient, or one that does is not dense and real.
        RecordingError: a module that, in training mode, draws random numbers or mixes samples.
        QueryError: an embedding whose gradient depends on how often its rows occur in the batch.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trained:
        count = len(list(model.parameters()))
        raise DataError(
            "The model has no parameter that an update could move.",
            expected="at least one parameter that requires a gradient",
            got=f"{count} frozen parameters" if count else "a model without parameters",
        )
    for name, parameter in trained.items():
        lazy = isinstance(parameter, nn.parameter.UninitializedTensorMixin)
        if lazy or not parameter.is_floating_point() or parameter.layout != torch.strided:
            raise DataError(
                f"An update of the parameter {name} cannot be explained.",
                expected="a dense tensor of real floating-point numbers",
                got="a lazy module, which has no shape yet"
                if lazy
                else f"{parameter.layout}, {parameter.dtype}",
                remedy="Run one forward pass first." if lazy else None,
            )
    for check in module_checks(model):
        check()  # dropout and batch statistics: the loss would be no function of the parameters
    for name, module in model.named_modules():
        if getattr(module, "scale_grad_by_freq", False):
            raise QueryError(
                f"The gradient of the embedding '{name}' depends on how often its rows occur in the batch.",
                expected="gradients of single samples that add up to the batch's",
                got="scale_grad_by_freq=True",
                remedy="Set the module's scale_grad_by_freq to False, if the run was trained so.",
            )


def check_held(checkpoint: Checkpoint, model: nn.Module) -> None:
    """Raise StoreError if a parameter requires a gradient that the checkpoint's optimizer does not hold."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and checkpoint.hyperparameters.of(name) is None:
            raise StoreError(
                f"The optimizer of {checkpoint.name} does not hold the parameter {name}, which requires a gradient",
                expected="an optimizer over every parameter that is trained",
                got="no options of this one",
                remedy="freeze it with requires_grad_(False) if the run does not train it",
            )


def check_units(units: Units, model: nn.Module) -> None:
    """Raise QueryError unless the units are of the model's parameters."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and name not in units.slices:
            raise QueryError(
                f"The units leave the parameter {name} out.",
                expected="units of every parameter, so that contributions add up",
                remedy="Make them with make_units from the shapes of model.named_parameters().",
            )


class Pure:
    """The user's loss function, its result checked at every call, and every call made from the same buffers.

    Args:
        losses: the user's.
        buffers: the model's, to start every call from.
        moving: do forward passes change them at all?
    """

    def __init__(self, losses: Losses, buffers: Buffers, *, moving: bool = False) -> None:
        self._losses, self._buffers, self.moving = losses, buffers, moving

    def __call__(self, model: nn.Module, samples: Tensor) -> Tensor:
        """The loss of each sample [n]; raises DataError for anything else."""
        if self.moving:
            self._buffers.restore()
        each = self._losses(model, samples)
        if not isinstance(each, Tensor):
            got = type(each).__name__
            if isinstance(each, tuple | list | Mapping):
                got += f" of {len(each)}"
        elif each.shape != (len(samples),):
            got = f"a tensor of shape {list(each.shape)} for {len(samples)} samples"
        elif not each.is_floating_point():
            got = f"a tensor of {each.dtype}"
        else:
            return each
        raise DataError(
            "The loss function does not return one loss for each sample.",
            expected=f"a real floating-point tensor of shape [{len(samples)}], nothing else",
            got=got,
            remedy="Return the losses alone, not reduced over the samples, such as cross_entropy(..., reduction='none').",
        )
