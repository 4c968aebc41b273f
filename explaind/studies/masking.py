"""Single parameters that are kept, and the others set to something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from explaind.errors import ConfigError
from explaind.experiments.experiment import Experiment

__all__ = ["keep_largest", "prunable"]


def prunable(experiment: Experiment, names: Sequence[str], output_layer: str) -> tuple[str, ...]:
    """The trained parameters outside the output layer, in the model's order.

    Args:
        experiment: its `groups` are the layers.
        names: of the parameters that the optimizer moved; others are never pruned.
        output_layer: name of a layer.

    Raises:
        ConfigError: there is no such layer, or no parameter is left.
    """
    if output_layer not in experiment.groups:
        raise ConfigError(
            f"The model has no layer {output_layer!r} that could be left whole.",
            expected=f"one of {', '.join(experiment.groups)}",
            got=output_layer,
            remedy="Name the model's last layer in study.pruning.output_layer.",
        )
    chosen = tuple(name for name in names if name not in experiment.groups[output_layer])
    if not chosen:
        raise ConfigError(
            "There is nothing to prune.",
            expected="trained parameters outside the output layer",
            got=f"{output_layer} alone",
            remedy="Correct study.pruning.output_layer, or choose an experiment with more layers.",
        )
    return chosen


def keep_largest(
    model: nn.Module,
    names: Sequence[str],
    scores: Mapping[str, Tensor],
    fraction: float,
    rest: Mapping[str, Tensor] | None = None,
) -> tuple[nn.Module, float]:
    """A copy of the model in which only the parameters of the largest scores keep their values, and their share.

    Args:
        model: is not changed.
        names: the parameters that may be pruned, in one list.
        scores: by name, not negative.
        fraction: in (0, 1]; the number of kept parameters is rounded, and at least one.
        rest: by name, the values that the others get; None: zero.

    Raises:
        ConfigError: another fraction.
    """
    if not 0 < fraction <= 1:
        raise ConfigError(
            "A fraction of parameters is not usable.",
            expected="a number above 0 and of at most 1",
            got=f"{fraction}",
            remedy="Correct study.pruning.fractions.",
        )
    pruned = deepcopy(model)
    places = [(pruned.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in names]
    total = sum(scores[name].numel() for name in names)
    kept = max(1, round(fraction * total))
    prune.global_unstructured(
        places,
        pruning_method=prune.L1Unstructured,
        importance_scores={place: scores[name] for place, name in zip(places, names, strict=True)},
        amount=total - kept,
    )
    for name, (module, own) in zip(names, places, strict=True):
        dropped = getattr(module, f"{own}_mask") == 0
        prune.remove(module, own)
        if rest is not None:
            with torch.no_grad():
                getattr(module, own)[dropped] = rest[name][dropped]
    return pruned, kept / total
