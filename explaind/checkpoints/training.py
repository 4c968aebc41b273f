"""A training run's present state, read as a checkpoint is read: for explaining the next update without writing a file."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from explaind.checkpoints.groups import options_of
from explaind.checkpoints.hyperparameters import Hyperparameters
from explaind.errors import StoreError

__all__ = ["TrainingState"]


class TrainingState:
    """Model and optimizer between two updates, with the interface of `Checkpoint`.

    Tensors are copied when they are asked for, so they are those of the moment of asking; the model may have any architecture.

    Args:
        model: between two updates.
        optimizer: torch.optim.AdamW over exactly its parameters, with one learning rate, betas and eps; weight_decay may be 0 in
            some groups.
        clip_norm: the global norm that the loop clips gradients to, which the optimizer does not know; None: no clipping.
        name: appears in messages.

    Raises:
        StoreError: the optimizer's next update is no sum of batch, momentum and weight decay, or it is not the model's.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.AdamW,
        *,
        clip_norm: float | None = None,
        name: str = "the training run",
    ) -> None:
        self.name = name
        self._optimizer, self._parameters = optimizer, dict(model.named_parameters())
        names = {id(parameter): key for key, parameter in self._parameters.items()}
        members = [[id(parameter) for parameter in group["params"]] for group in optimizer.param_groups]
        if not isinstance(optimizer, torch.optim.AdamW) or {i for some in members for i in some} != set(
            names
        ):
            raise StoreError(
                "This optimizer's next update cannot be explained",
                expected="torch.optim.AdamW over exactly the model's parameters",
                got=f"{type(optimizer).__name__} over {sum(map(len, members))} of {len(names)} parameters",
                remedy="make it from model.parameters()",
            )
        steps = {
            int(optimizer.state.get(parameter, {}).get("step", 0)) for parameter in self._parameters.values()
        }
        if len(steps) > 1:
            raise StoreError(
                "The parameters were not all trained in every update",
                expected="one number of updates",
                got=", ".join(map(str, sorted(steps))),
                remedy="freeze parameters for the whole run, by leaving them out of the model's parameters",
            )
        named = [[names[i] for i in some] for some in members]
        options = options_of(name, optimizer.param_groups, named, steps.pop())
        self.hyperparameters: Hyperparameters = replace(options, clip_norm=clip_norm)

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
        """The first moment of a parameter, zeros before the first update."""
        return self._moment(name, "exp_avg")

    def exp_avg_sq(self, name: str) -> Tensor:
        """The second moment of a parameter, zeros before the first update."""
        return self._moment(name, "exp_avg_sq")

    @torch.no_grad()
    def load_weights(self, model: nn.Module) -> None:
        """Copy θ into another model of the same shape; the run's own has it already."""
        for name, parameter in model.named_parameters():
            if parameter is not self._parameters[name]:
                parameter.copy_(self._parameters[name])

    def _moment(self, name: str, kind: str) -> Tensor:
        parameter = self._parameters[name]
        state = self._optimizer.state.get(parameter) or {}
        return state[kind].detach().clone() if kind in state else torch.zeros_like(parameter)
