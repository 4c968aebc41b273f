"""State that an explanation preserves: gradients, buffers, flags, training modes and the generators of random numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Buffers", "Generators", "preserved", "same"]


def same(one: Tensor, two: Tensor) -> bool:
    """Equal bit for bit, NaN equal to NaN."""
    if one.shape != two.shape or one.dtype != two.dtype or one.device != two.device:
        return False
    one, two = (part.to_dense() if part.layout != torch.strided else part for part in (one, two))
    return torch.equal(one, two) or bool(((one == two) | ((one != one) & (two != two))).all())


class Buffers:
    """A model's buffers as they are now: which tensors, and copies of their values."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._tables = [
            (module, prefix, dict(module._buffers))
            for prefix, module in model.named_modules()
            if not isinstance(
                module, torch.jit.ScriptModule
            )  # its buffers cannot be exchanged, only their values
        ]
        self._values = [(name, tensor, tensor.detach().clone()) for name, tensor in model.named_buffers()]

    def changed(self) -> list[str]:
        """Names of the buffers that are other tensors, or hold other values."""
        changed = [name for name, tensor, value in self._values if not same(tensor.detach(), value)]
        for module, prefix, table in self._tables:
            for name in dict.fromkeys((*table, *module._buffers)):
                if module._buffers.get(name) is not table.get(name) or (name in table) != (
                    name in module._buffers
                ):
                    changed.append(f"{prefix}.{name}" if prefix else name)
        return list(dict.fromkeys(changed))

    @torch.no_grad()
    def restore(self) -> None:
        """Put tensors and values back, bit for bit."""
        for module, _, table in self._tables:
            if list(module._buffers) != list(table) or any(module._buffers[n] is not table[n] for n in table):
                module._buffers.clear()
                module._buffers.update(table)
        for _, tensor, value in self._values:
            if tensor.shape != value.shape:
                tensor.data = value.clone()
            else:
                tensor.copy_(value)


class Generators:
    """torch's, NumPy's and Python's generators of random numbers as they are now."""

    def __init__(self, model: nn.Module) -> None:
        self._devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
        self._states = self._now()

    def _now(self) -> tuple[list[Tensor], Any, Any]:
        tensors = [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in self._devices)]
        return tensors, np.random.get_state(), random.getstate()  # noqa: NPY002 (the user's, not ours)

    def drew(self) -> bool:
        """Were random numbers drawn since?"""
        (tensors, numpy, python), (now, numpy_now, python_now) = self._states, self._now()
        return (
            any(not torch.equal(*pair) for pair in zip(tensors, now, strict=True))
            or not np.array_equal(numpy[1], numpy_now[1])
            or numpy[2:] != numpy_now[2:]
            or python != python_now
        )

    def restore(self) -> None:
        """Set them back."""
        (cpu, *others), numpy, python = self._states
        torch.set_rng_state(cpu)
        for device, state in zip(self._devices, others, strict=True):
            torch.cuda.set_rng_state(state, device)
        np.random.set_state(numpy)  # noqa: NPY002
        random.setstate(python)


@contextmanager
def preserved(model: nn.Module) -> Iterator[Buffers]:
    """Gives the model's buffers as they are; at the end, also on an error, all but the parameters' values is as it was.

    That is: buffers, gradients, requires_grad, training modes, and the generators of random numbers. Other attributes that a
    forward pass sets are the model's own affair.
    """
    buffers, generators = Buffers(model), Generators(model)
    parameters = [(p, p.grad, p.requires_grad) for p in model.parameters()]
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield buffers
    finally:
        for parameter, gradient, wanted in parameters:
            parameter.requires_grad_(wanted)
            parameter.grad = gradient
        for module, training in modes:
            if module.training != training:
                module.training = training
        buffers.restore()
        generators.restore()
