"""Are two evaluations of a loss the same, but for the rounding of a deep model in the precision it computes in?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from explaind.updates.preserve import same

__all__ = ["beyond_reordering", "beyond_rounding", "module_precisions", "repeats"]

ROUNDING = 64  # in eps: what sums in another order are off by
SHARP, ROUGH = 0.01, 0.05  # the most that is taken for rounding, however coarse the precision


@contextmanager
def module_precisions(model: nn.Module) -> Iterator[list[float]]:
    """Inside, collects the eps of what modules return: autocast computes more coarsely than parameters are kept."""
    precisions = [0.0]

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        for part in output if isinstance(output, tuple | list) else (output,):
            if isinstance(part, Tensor) and part.is_floating_point():
                precisions.append(torch.finfo(part.dtype).eps)

    handles = [
        module.register_forward_hook(hook)
        for module in model.modules()
        if not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        yield precisions
    finally:
        for handle in handles:
            handle.remove()


def repeats(one: Tensor, two: Tensor, eps: float) -> bool:
    """Are two evaluations of the same equal? On the CPU bit for bit; a GPU may add up in another order."""
    return same(one, two) or (one.is_cuda and not beyond_reordering(one, two, eps).any())


def beyond_reordering(one: Tensor, two: Tensor, eps: float) -> Tensor:
    """Where two evaluations of one shape differ, but for the rounding of sums in another order."""
    return _apart(one, two, min(ROUNDING * eps, SHARP), 0.0)


def beyond_rounding(one: Tensor, two: Tensor, eps: float) -> Tensor:
    """Where evaluations of different shapes differ by more than the rounding of a deep model."""
    return _apart(one, two, eps**0.5, min(ROUNDING * eps, ROUGH))


def _apart(one: Tensor, two: Tensor, relative: float, absolute: float) -> Tensor:
    """NaN and infinity equal themselves alone."""
    one, two = one.detach().double(), two.detach().double()
    off = (one - two).abs() > relative * torch.maximum(one.abs(), two.abs()) + absolute
    return off | (one.isfinite() != two.isfinite()) | (one.isnan() != two.isnan())
