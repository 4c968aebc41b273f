"""Samples by index: a pair of tensors, a tensor of inputs, or a torch Dataset, seen the same way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from explaind.errors import DataError


class Samples:
    """Inputs and, where there are any, targets, both indexed by sample along their first dimension.

    Args:
        source: inputs [N, …]; a pair (inputs [N, …], targets [N, …]); or a Dataset of (input, target) items, which is
            collated once and held in memory.
        role: what the samples are ("train" or "test"), for messages.

    Raises:
        DataError: lengths differ, there are no samples, or inputs hold NaN or infinities.
    """

    def __init__(self, source: Any, role: str) -> None:
        if isinstance(source, Samples):
            source = (source.inputs, source.targets)
        self._role = role
        if isinstance(source, Dataset) and len(source) == 0:
            raise DataError(f"There are no {role} samples.", expected="at least one sample", got="none")
        if isinstance(source, Dataset) and not isinstance(source, torch.utils.data.TensorDataset):
            source = default_collate([source[i] for i in range(len(source))])
        elif isinstance(source, torch.utils.data.TensorDataset):
            source = source.tensors
        self.inputs, self.targets = _pair(source, role)
        if len(self.inputs) == 0:
            raise DataError(f"There are no {role} samples.", expected="at least one sample", got="none")
        if self.targets is not None and len(self.targets) != len(self.inputs):
            raise DataError(
                f"The {role} inputs and targets do not belong together.",
                expected=f"{len(self.inputs)} targets",
                got=f"{len(self.targets)}",
            )
        if self.inputs.is_floating_point() and not bool(torch.isfinite(self.inputs).all()):
            raise DataError(f"The {role} inputs hold NaN or infinite values.", remedy="Clean the data first.")

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, index: Tensor | slice) -> tuple[Tensor, Tensor | None]:
        """(inputs, targets) of the samples in `index`."""
        return self.inputs[index], None if self.targets is None else self.targets[index]

    def to(self, dtype: torch.dtype) -> Samples:
        """The same samples with floating-point inputs and targets in `dtype`; integers stay integers."""
        targets = self.targets
        if targets is not None and targets.is_floating_point():
            targets = targets.to(dtype)
        inputs = self.inputs.to(dtype) if self.inputs.is_floating_point() else self.inputs
        return Samples((inputs, targets), self._role)


def _pair(source: Any, role: str) -> tuple[Tensor, Tensor | None]:
    if isinstance(source, Tensor):
        return source, None
    pair = tuple(source) if isinstance(source, tuple | list) else ()
    if len(pair) == 2 and isinstance(pair[0], Tensor) and isinstance(pair[1], Tensor | None):
        return pair
    raise DataError(
        f"The {role} samples are not in a form that can be indexed.",
        expected="a tensor of inputs, a pair (inputs, targets) of tensors, or a torch Dataset of such pairs",
        got=type(source).__name__,
    )
