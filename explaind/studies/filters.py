"""Iterative pruning of filters with retraining (Li et al., "Pruning filters for efficient ConvNets", ICLR 2017).

A filter is a row of a weight: an output channel of a convolution, a neuron of a linear map. In every layer but the output one,
those of smallest L1 norm are set to zero with their biases, and with the weights of later layers that read nothing else; the
model is then retrained, and goes on from there to the next smaller size. What was removed stays zero.

As in their paper, every layer keeps the same share of its filters. They prune convolutions alone; linear maps are included here,
as they hold most of a small network's parameters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from explaind.experiments.build import make_optimizer
from explaind.experiments.experiment import Experiment
from explaind.training.batches import Order
from explaind.training.loop import train_silently

__all__ = ["filter_masks", "prune_filters", "unread"]

Masks = dict[str, Tensor]
"""1 where a parameter is kept and 0 where it is set to zero, by its name."""


def prune_filters(
    experiment: Experiment,
    names: Sequence[str],
    fractions: Sequence[float],
    config: Mapping[str, Any],
    *,
    updates: int,
    seed: int,
) -> Iterator[tuple[float, nn.Module, float]]:
    """Ever smaller models, each made from the one before.

    Args:
        experiment: its model is the one to prune; it is not changed.
        names: the parameters that may be pruned.
        fractions: at most these shares of them are kept; the largest comes first, whatever the order.
        config: the run's own: `optimizer` and `train`.
        updates: of retraining after each removal, on batches of the run's size from its training samples; the optimizer
            starts anew, at the run's learning rate.
        seed: of the first retraining's batches; every further one adds 1.

    Yields:
        (fraction, model, share of `names` that is not set to zero). One filter of each layer is always left.

    Raises:
        TrainingError: a loss became NaN or infinite.
    """
    model, kept = deepcopy(experiment.model), 1.0
    example = experiment.train[0][:1]
    for number, fraction in enumerate(sorted(fractions, reverse=True)):
        if fraction < kept:
            masks = filter_masks(model, names, fraction, example)
            kept = _share(masks)
            _apply(model, masks)
            training = config["train"]
            order = Order(len(experiment.train[1]), training, seed + number)
            optimizer = make_optimizer(config, model)
            train_silently(replace(experiment, model=model), optimizer, training, order, updates)
            _make_permanent(model, masks)
        yield fraction, model, kept


def filter_masks(model: nn.Module, names: Sequence[str], fraction: float, example: Tensor) -> Masks:
    """The masks that leave the largest share of every layer's filters, and at most `fraction` of the parameters.

    Args:
        model: is not changed.
        names: the parameters that may be pruned.
        fraction: in (0, 1].
        example: one input [1, …], for its shape.
    """
    counts = {len(model.get_parameter(name)) for name in names}
    shares = sorted({kept / count for count in counts for kept in range(1, count + 1)})
    low, high = 0, len(shares)  # shares[low] is taken: more would be too many, from `high` on
    while high - low > 1:
        middle = (low + high) // 2
        if _share(_shrunk(model, names, shares[middle], example)) <= fraction:
            low = middle
        else:
            high = middle
    return _shrunk(model, names, shares[low], example)


def unread(model: nn.Module, masks: Masks, example: Tensor) -> Masks:
    """The masks without the weights that read removed filters alone.

    With ones for everything that is kept, an activation of a network of convolutions, linear maps, additions, poolings and ReLUs
    is zero exactly where nothing that is kept leads to it.

    Args:
        model: of such layers.
        masks: of some of its parameters.
        example: one input [1, …], for its shape.
    """
    probe = deepcopy(model).double()  # products of the fan-ins: too large for float32
    with torch.no_grad():
        for name, parameter in probe.named_parameters():
            parameter.copy_(masks[name]) if name in masks else parameter.fill_(1)
    found = dict(masks)

    def see(name: str, inputs: Tensor) -> None:
        mask = masks[name]
        if mask.dim() > 1 and inputs.shape[1] == mask.shape[1]:
            silent = (inputs == 0).transpose(0, 1).flatten(1).all(1)
            found[name] = mask * (~silent).to(mask).reshape(1, -1, *(1 for _ in mask.shape[2:]))

    hooks = [
        probe.get_submodule(name.removesuffix(".weight")).register_forward_pre_hook(
            lambda _, inputs, name=name: see(name, inputs[0])
        )
        for name in masks
        if name.endswith(".weight")
    ]
    with torch.no_grad():
        probe(torch.ones_like(example, dtype=torch.float64))
    for hook in hooks:
        hook.remove()
    return found


def _shrunk(model: nn.Module, names: Sequence[str], share: float, example: Tensor) -> Masks:
    """The masks that leave a share of the filters of every layer, the nearest whole number from above, at least one."""
    masks: Masks = {name: torch.ones_like(model.get_parameter(name)) for name in names}
    for name in names:
        weight = model.get_parameter(name)
        if weight.dim() < 2:
            continue
        removed = len(weight) - max(1, math.ceil(share * len(weight) - 1e-9))
        layer = nn.Module()
        layer.weight = nn.Parameter(weight.detach().clone())
        prune.ln_structured(layer, "weight", amount=removed, n=1, dim=0)
        masks[name] = layer.weight_mask
        bias = name.removesuffix("weight") + "bias"
        if bias in masks:
            masks[bias] = masks[name].flatten(1).amax(1)
    return unread(model, masks, example)


def _apply(model: nn.Module, masks: Masks) -> None:
    for name, mask in masks.items():
        module, _, own = name.rpartition(".")
        prune.custom_from_mask(model.get_submodule(module), own, mask)


def _make_permanent(model: nn.Module, masks: Masks) -> None:
    for name in masks:
        module, _, own = name.rpartition(".")
        prune.remove(model.get_submodule(module), own)


def _share(masks: Masks) -> float:
    return float(sum(mask.sum().double() for mask in masks.values())) / sum(map(torch.numel, masks.values()))
