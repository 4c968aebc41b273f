"""Modules whose output, in training mode, is not a function of one sample: refused, or seen to draw random numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from explaind.recording.checks import refuse

RANDOM = (_DropoutNd, nn.MultiheadAttention, nn.RNNBase, nn.RReLU)
"""Modules that may draw random numbers in training mode."""


def module_checks(model: nn.Module, *, replayed: bool = False) -> list[Callable[[], None]]:
    """One cheap check per module whose output, in training mode, is not a function of the sample alone.

    Args:
        model: the model.
        replayed: allow what is replayed batch by batch: random numbers, and batch normalisation.
    """
    checks: list[Callable[[], None]] = []
    for name, module in model.named_modules():
        label = _label(name, module)
        if isinstance(module, torch.jit.ScriptModule):
            refuse(
                f"{label} is a ScriptModule, whose dropout and batch statistics cannot be seen",
                "a model of Python modules",
                type(module).__name__,
                "train the module that was scripted or traced; its parameters have the same names",
            )
        if norm := _spectral(module):
            checks.append(lambda module=module, norm=norm: _refuse_power_iteration(module, norm))
        if isinstance(module, RANDOM) and not replayed:
            checks.append(lambda module=module, label=label: _refuse_random(module, label))
        elif isinstance(module, _NormBase):
            checks.append(
                lambda module=module, label=label: _refuse_batch_statistics(module, label, replayed)
            )
    return checks


def _spectral(module: nn.Module) -> str | None:
    """How a spectral norm is called in messages: torch's old one is a hook, the new one a module."""
    if isinstance(module, _SpectralNorm):
        return "The parametrization spectral_norm"
    hooks = module._forward_pre_hooks.values()
    return "torch.nn.utils.spectral_norm" if any(isinstance(h, SpectralNorm) for h in hooks) else None


def _refuse_power_iteration(module: nn.Module, label: str) -> None:
    if module.training:
        refuse(
            f"{label} estimates its norm anew in every forward pass, which the recording cannot replay",
            "fixed singular vectors",
            "a power iteration in training mode",
            "call .eval() on this module before recording",
        )


def random_modules(model: nn.Module) -> list[Callable[[], str | None]]:
    """For each module that may draw random numbers: what it draws at present, in words, or None."""
    return [
        partial(_random_use, module, _label(name, module))
        for name, module in model.named_modules()
        if isinstance(module, RANDOM)
    ]


def _label(name: str, module: nn.Module) -> str:
    return f"{type(module).__name__} '{name}'" if name else type(module).__name__


def _random_use(module: nn.Module, label: str) -> str | None:
    option = _random_option(module)
    return option and f"{label} uses {option} in training mode"


def _random_option(module: nn.Module) -> str | None:
    if not module.training:
        return None
    if isinstance(module, nn.RReLU):
        return "a random slope" if module.lower != module.upper else None
    if isinstance(module, nn.RNNBase) and module.num_layers == 1:
        return None
    probability = module.p if isinstance(module, _DropoutNd) else module.dropout
    return f"dropout with p={probability}" if probability > 0 else None


def _refuse_random(module: nn.Module, label: str) -> None:
    if option := _random_option(module):
        refuse(
            f"{label} uses {option} in training mode, which cannot be replayed",
            "a forward pass that depends on the sample alone",
            option,
            "set the probability to 0, or call .eval() on this module",
        )


def _refuse_batch_statistics(module: _NormBase, label: str, replayed: bool) -> None:
    tracking = bool(module.track_running_stats)
    if isinstance(module, _InstanceNorm):
        unclear = module.training and tracking  # without running statistics each sample is normalised alone
    else:
        unclear = (module.training and not replayed) or module.running_mean is None
    if unclear:
        refuse(
            f"{label} mixes the samples of a batch, so per-sample gradients are not defined",
            "fixed statistics",
            "statistics of the batch",
            "call .eval() on this module, or use GroupNorm or LayerNorm",
        )
