"""Layers of a recorded run in another network: which parameters they are, and how they get there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from explaind.errors import ConfigError
from explaind.experiments.experiment import Experiment
from explaind.recording.trajectory import Trajectory

__all__ = ["move", "parameters_at", "parameters_of"]


def parameters_of(experiment: Experiment, layers: Sequence[str]) -> list[str]:
    """Names of the parameters of these layers, in the experiment's order of layers.

    Raises:
        ConfigError: the model has no such layer.
    """
    if strange := [layer for layer in layers if layer not in experiment.groups]:
        raise ConfigError(
            f"The model has no layer called {strange[0]!r}.",
            expected=f"layers among {', '.join(experiment.groups)}",
            got=", ".join(layers),
            remedy="Correct study.transplant.layers.",
        )
    return [name for layer, names in experiment.groups.items() if layer in layers for name in names]


def parameters_at(run: Trajectory, step: int) -> dict[str, Tensor]:
    """θ_step of the run by the names of the model's parameters: copies, on the CPU."""
    return {name: part.clone() for name, part in run.layout.unflatten(run.parameters(step)).items()}


def move(source: dict[str, Tensor], names: Sequence[str], model: nn.Module) -> None:
    """Overwrite these parameters of a model with the source's, in place."""
    with torch.no_grad():
        for name in names:
            model.get_parameter(name).copy_(source[name])
