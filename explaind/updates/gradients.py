"""Gradients that go to a consumer tensor by tensor, so that at most one of them exists at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from explaind.errors import DataError

__all__ = ["Collected", "on_gradients", "sum_gradients"]


class Collected(dict[str, Tensor]):
    """Sums of gradients by name, in float32 at least, of the parameters that received one and no others."""

    def add(self, name: str, gradient: Tensor) -> None:
        """What `on_gradients` may call."""
        if name not in self:
            wanted = torch.promote_types(gradient.dtype, torch.float32)
            self[name] = torch.zeros_like(gradient, dtype=wanted, memory_format=torch.contiguous_format)
        self[name].add_(gradient)


def sum_gradients(model: nn.Module) -> dict[str, Tensor]:
    """Zeros in float32 at least, by name: what `on_gradients` may add into."""
    return {
        name: torch.zeros_like(parameter, dtype=torch.promote_types(parameter.dtype, torch.float32))
        for name, parameter in model.named_parameters()
    }


@contextmanager
def on_gradients(model: nn.Module, use: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Inside, each parameter's gradient goes to `use(name, gradient)` as soon as the backward pass has it, and is freed after it.

    So at most one tensor's gradient exists at a time. Gradients that the parameters hold before are dropped. A parameter that the
    loss does not depend on is not used.

    Raises:
        DataError: a gradient is sparse.
    """
    model.zero_grad(set_to_none=True)

    def hook(name: str, parameter: nn.Parameter) -> None:
        gradient = parameter.grad
        if gradient.layout != torch.strided:
            raise DataError(
                f"The parameter {name} has a sparse gradient.",
                expected="dense gradients",
                got=str(gradient.layout),
                remedy="Build the embedding with sparse=False.",
            )
        use(name, gradient)
        parameter.grad = None

    handles = [
        parameter.register_post_accumulate_grad_hook(partial(hook, name))
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
