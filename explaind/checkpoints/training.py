"""A training run's present state, read as a checkpoint is read: for explaining the next update without writing a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from explaind.checkpoints.checks import check_model
from explaind.checkpoints.groups import hyperparameters_of
from explaind.checkpoints.hyperparameters import Hyperparameters
from explaind.checkpoints.options import GroupedHyperparameters
from explaind.errors import StoreError

__all__ = ["TrainingState"]

OPTIMIZERS = (torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD)


class TrainingState:
    """Model and optimizer between two updates, with the interface of `Checkpoint`.

    Everything is read on access, and is of that moment; the model may have any architecture. The next
    update is understood as torch makes it after `zero_grad()` with its default `set_to_none=True`: a parameter that requires no
    gradient, or that the batch's loss does not depend on, is skipped: no decay, no momentum.

    Args:
        model: between two updates.
        optimizer: exactly torch.optim.AdamW, Adam or SGD, with any groups; every parameter of the model that requires a
            gradient is in it. Frozen parameters may be in it or not.
        clip_norm: the global norm that the loop clips gradients to, which the optimizer does not know; None: no clipping.
        name: appears in messages.

    Raises:
        StoreError: the optimizer's next update is no sum of batch, momentum and weight decay, or it is not the model's.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        clip_norm: float | None = None,
        name: str = "the training run",
    ) -> None:
        self.name = name
        self._optimizer, self._clip_norm = optimizer, clip_norm
        self._parameters = dict(model.named_parameters())
        _ = self.hyperparameters  # what cannot be explained is refused at once

    @property
    def hyperparameters(self) -> Hyperparameters | GroupedHyperparameters:
        """Of the next update, as the optimizer's groups say now; raises StoreError as the class does."""
        names = {id(parameter): key for key, parameter in self._parameters.items()}
        groups = self._optimizer.param_groups
        members = [[id(parameter) for parameter in group["params"]] for group in groups]
        held = {i for some in members for i in some}
        wanted = {id(parameter) for parameter in self._parameters.values() if parameter.requires_grad}
        if type(self._optimizer) not in OPTIMIZERS or not wanted <= held or not held <= set(names):
            raise StoreError(
                "This optimizer's next update cannot be explained",
                expected="torch.optim.AdamW, torch.optim.Adam or torch.optim.SGD, no subclass of them, over exactly the model's "
                "parameters that require a gradient; frozen ones may be left out",
                got=f"{type(self._optimizer).__name__} over {len(held & set(names))} of {len(names)} parameters"
                + (f" and {len(held - set(names))} others" if held - set(names) else ""),
                remedy="make it from model.parameters(), and freeze what it shall not move with requires_grad_(False)",
            )
        for name, parameter in self._parameters.items():
            if not parameter.requires_grad and parameter.grad is not None and id(parameter) in held:
                raise StoreError(
                    f"The parameter {name} requires no gradient but still has one, which the optimizer would apply",
                    expected="grad None",
                    got="a gradient from before it was frozen",
                    remedy="set its grad to None, as zero_grad() does",
                )
        hyperparameters = hyperparameters_of(
            self.name,
            groups,
            [[names[i] for i in some] for some in members],
            dict(self._steps()),
            every=self._parameters,
            assumed=type(self._optimizer).__name__,
        )
        return replace(hyperparameters, clip_norm=self._clip_norm)

    def names(self) -> tuple[str, ...]:
        """Parameter names, in the model's order."""
        return tuple(self._parameters)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a parameter."""
        return tuple(self._parameters[name].shape)

    def weight(self, name: str) -> Tensor:
        """θ of a parameter, as it is now."""
        return self._parameters[name].detach().clone()

    def exp_avg(self, name: str) -> Tensor:
        """The first moment of a parameter, of SGD its momentum buffer; zeros before the first update."""
        return self._moment(name, "momentum_buffer" if self._is_sgd else "exp_avg")

    def exp_avg_sq(self, name: str) -> Tensor:
        """The second moment of a parameter, zeros before the first update."""
        return self._moment(name, "exp_avg_sq")

    @torch.no_grad()
    def load_weights(self, model: nn.Module) -> None:
        """Copy θ into another model of the same shape; the run's own has it already.

        Raises:
            StoreError: the other model has other parameters, or other ones are frozen; nothing was copied then.
        """
        parameters = dict(model.named_parameters())
        check_model(self.name, {name: self.shape(name) for name in self.names()}, parameters)
        for name, parameter in parameters.items():
            if parameter.requires_grad != self._parameters[name].requires_grad:
                raise StoreError(
                    f"The model differs from that of {self.name} in what is frozen",
                    expected=f"requires_grad={self._parameters[name].requires_grad} for {name}",
                    got=f"requires_grad={parameter.requires_grad}",
                    remedy="freeze the same parameters in both",
                )
        for name, parameter in parameters.items():
            if parameter is not self._parameters[name]:
                parameter.copy_(self._parameters[name])

    @property
    def _is_sgd(self) -> bool:
        return isinstance(self._optimizer, torch.optim.SGD)

    def _steps(self) -> Iterator[tuple[str, int]]:
        for name, parameter in self._parameters.items():
            state = self._optimizer.state.get(parameter) or {}
            buffered = state.get("momentum_buffer") is not None
            yield name, int(buffered) if self._is_sgd else int(state.get("step", 0))

    def _moment(self, name: str, kind: str) -> Tensor:
        parameter = self._parameters[name]
        moment = (self._optimizer.state.get(parameter) or {}).get(kind)
        return torch.zeros_like(parameter) if moment is None else moment.detach().clone()
