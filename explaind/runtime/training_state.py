"""All that a training run needs to go on besides its data: values of the model, history of the optimizer."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["restore_training_state", "training_state"]


def training_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Parameters and buffers, the optimizer's moments and step counts, and the state of torch's CPU generator; by reference.

    Options of the optimizer, such as a scheduled learning rate, follow from the step.
    """
    return {
        "model": dict(model.state_dict()),
        "optimizer": optimizer.state_dict()["state"],
        "random": torch.get_rng_state(),
    }


def restore_training_state(model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Bring a model and an optimizer, made in the same way, to such a state; the optimizer has new groups then."""
    model.load_state_dict(state["model"])
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state["optimizer"], "param_groups": groups})
    torch.set_rng_state(state["random"])
