"""Inputs of several tensors as one: each sample's tensors side by side, as bytes, until the model is called.

A language model is called with token ids, an attention mask and positions. Everything between the samples and the model (blocks,
transforms, noise, checks) handles one tensor with the samples along its first axis; this one is made of bytes, so that no value
changes and nothing is converted on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from explaind.errors import DataError

Inputs = Tensor | dict[str, Tensor] | tuple[Tensor, ...]
"""What a model is called with: one tensor, keyword arguments, or several tensors in order, [n, …] each."""
_ALIGNED = 8  # bytes


def call(model: nn.Module, inputs: Inputs) -> Any:
    """The model called with them."""
    if isinstance(inputs, Tensor):
        return model(inputs)
    return model(**inputs) if isinstance(inputs, dict) else model(*inputs)


@dataclass(frozen=True)
class _Part:
    name: str | None
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Packing:
    """Where each tensor of a sample is among its bytes.

    Attributes:
        parts: in order; their names are those of the model's arguments, or None.
        size: bytes of a sample.
    """

    parts: tuple[_Part, ...]
    size: int

    @classmethod
    def of(cls, inputs: Mapping[str, Tensor] | tuple[Tensor, ...]) -> Packing:
        """The packing of samples like these."""
        named = inputs.items() if isinstance(inputs, Mapping) else ((None, part) for part in inputs)
        parts, start = [], 0
        for name, tensor in named:
            shape = tuple(tensor.shape[1:])
            stop = start + tensor[:1].numel() * tensor.dtype.itemsize
            parts.append(_Part(name, tensor.dtype, shape, start, stop))
            start = -(-stop // _ALIGNED) * _ALIGNED
        return cls(tuple(parts), start)

    def pack(self, inputs: Any) -> Tensor:
        """Samples [n, …] each → uint8 [n, size].

        Raises:
            DataError: the tensors are not of the form that is packed.
        """
        tensors = list(inputs.values() if isinstance(inputs, Mapping) else inputs)
        if Packing.of(inputs) != self:
            raise DataError(
                "Samples of several tensors differ in form.",
                expected=self.describe(),
                got=Packing.of(inputs).describe(),
                remedy="Pad all samples of one data set to the same shapes.",
            )
        packed = tensors[0].new_zeros(len(tensors[0]), self.size, dtype=torch.uint8)
        for part, tensor in zip(self.parts, tensors, strict=True):
            flat = tensor.contiguous().reshape(len(tensor), -1)
            packed[:, part.start : part.stop] = flat.view(torch.uint8) if flat.numel() else 0
        return packed

    def unpack(self, packed: Tensor, dtype: torch.dtype | None) -> dict[str, Tensor] | tuple[Tensor, ...]:
        """uint8 [n, size] → the tensors [n, …], floating-point ones in `dtype` (None: their own)."""
        tensors = []
        for part in self.parts:
            flat = packed[:, part.start : part.stop].clone(memory_format=torch.contiguous_format)
            tensor = flat.view(part.dtype).reshape(len(packed), *part.shape)
            tensors.append(tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor)
        names = [part.name for part in self.parts]
        return dict(zip(names, tensors, strict=True)) if names[0] is not None else tuple(tensors)  # type: ignore[arg-type]

    def describe(self) -> str:
        """Names, shapes and dtypes, for messages."""
        return ", ".join(
            f"{part.name or number}: {tuple(part.shape)} {str(part.dtype).removeprefix('torch.')}"
            for number, part in enumerate(self.parts)
        )


class Packings:
    """The packings of training and test samples, told apart by their size.

    Args:
        given: of each data set; None for one whose inputs are one tensor.

    Raises:
        DataError: two packings of one size.
    """

    def __init__(self, given: Iterable[Packing | None]) -> None:
        self._by_size: dict[int, Packing] = {}
        for packing in given:
            if packing is None:
                continue
            known = self._by_size.setdefault(packing.size, packing)
            if known != packing:
                raise DataError(
                    "Training and test samples are made of different tensors.",
                    expected=known.describe(),
                    got=packing.describe(),
                    remedy="Give both in the same form: the same names, in the same order, with the same dtypes.",
                )

    def unpack(self, inputs: Tensor, dtype: torch.dtype | None) -> Inputs:
        """What the model is called with, from inputs that may be packed."""
        packing = (
            self._by_size.get(inputs.shape[-1]) if inputs.dtype == torch.uint8 and inputs.dim() == 2 else None
        )
        return inputs if packing is None else packing.unpack(inputs, dtype)
