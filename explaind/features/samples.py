"""Samples by index, whatever they were passed as (`explaind.features.sources`).

`Augmented` adds how a run saw them: data augmentation is replayed from the views that were recorded, one number per sample.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from explaind.errors import DataError
from explaind.features.packing import Packing
from explaind.features.sources import check_batched, collate, collated, pair, too_large

View = Callable[[Any, Tensor], Any]
"""(inputs [n, …], views int64 [n]) → the inputs that were seen, [n, …]; deterministic, sample by sample."""


@dataclass(frozen=True)
class Augmented:
    """Training samples of which a run saw views, such as mirror images, named by `Recorder.batch(indices, views=...)`.

    Args:
        samples: as for `explaind.influence(train=...)`.
        view: (inputs [n, …], views int64 [n]) → the inputs that the model saw, [n, …]: a deterministic function of each
            sample and its view alone.

    Example:
        >>> def mirrored(images, flipped):
        ...     return torch.where(flipped.bool()[:, None, None, None], images.flip(-1), images)
        >>> train = explaind.Augmented((images, labels), mirrored)  # doctest: +SKIP
    """

    samples: Any
    view: View


@dataclass(frozen=True)
class Tokens:
    """Training samples whose positions are credited one by one: sequences with targets [N, T] and outputs [N, T, …].

    The train axis then counts positions, sample · T + position. Those without a loss (padding, ignored labels) have no
    influence, and the positions of a sample add up to it.

    Args:
        samples: as for `explaind.influence(train=...)`.
    """

    samples: Any


class Samples:
    """Inputs and, where there are any, targets, both indexed by sample along their first dimension.

    Args:
        source: inputs [N, …]; a pair (inputs [N, …], targets [N, …]); or a Dataset of (input, target) items, which is
            collated once and held in memory; or any of these as `Augmented`. Arrays of NumPy count as tensors of their dtype.
            Inputs may be several tensors: a dictionary of keyword arguments, or a tuple. A dictionary with the key "labels" holds
            the targets too.
        role: what the samples are ("train" or "test"), for messages.

    Raises:
        DataError: lengths differ, there are no samples, inputs hold NaN or infinities, or an array is not of numbers.
    """

    def __init__(self, source: Any, role: str) -> None:
        self.view: View | None = None
        tokens = isinstance(source, Tokens)
        source = source.samples if tokens else source
        if isinstance(source, Augmented):
            source, self.view = source.samples, source.view
        self._role = role
        self.packing: Packing | None = None
        self._dtype: torch.dtype | None = None
        self._device: torch.device | None = None
        self._dataset: Any = source if role == "train" and too_large(source) else None
        if self._dataset is None:
            self.inputs, self.targets = self._packed(*pair(collated(source, role), role))
        else:
            self.inputs, self.targets = self._packed(*collate(self._dataset, [0], role))
        self.positions = _positions(self.targets) if tokens else None
        self.count = len(self.inputs if self._dataset is None else self._dataset)
        if self._dataset is not None:
            return
        if len(self.inputs) == 0:
            raise DataError(f"There are no {role} samples.", expected="at least one sample", got="none")
        if self.targets is not None and len(self.targets) != len(self.inputs):
            raise DataError(
                f"The {role} inputs and targets do not belong together.",
                expected=f"{len(self.inputs)} targets",
                got=f"{len(self.targets)}",
            )

    def __len__(self) -> int:
        return self.count

    @property
    def content(self) -> Any:
        """What the samples are: their tensors, or the Dataset that they are read from."""
        return (self.inputs, self.targets) if self._dataset is None else self._dataset

    def take(self, index: Tensor | slice) -> tuple[Tensor, Tensor | None]:
        """(inputs, targets) of the samples in `index`; inputs of several tensors are packed."""
        if self._dataset is None:
            return self.inputs[index], None if self.targets is None else self.targets[index]
        listed = torch.arange(self.count)[index].tolist()
        inputs, targets = self._packed(*collate(self._dataset, listed, self._role))
        return self._moved(inputs), None if targets is None else self._moved(targets)

    def given(self, index: Tensor | slice) -> tuple[Any, Tensor | None]:
        """The same in the form in which they were passed."""
        inputs, targets = self.take(index)
        return inputs if self.packing is None else self.packing.unpack(inputs, self._dtype), targets

    def _packed(self, inputs: Any, targets: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Inputs as one tensor, checked."""
        for part in [inputs] if isinstance(inputs, Tensor) else _values(inputs):
            check_batched(part, targets, self._role)
            if part.is_floating_point() and not all(torch.isfinite(few).all() for few in part.split(4096)):
                raise DataError(
                    f"The {self._role} inputs hold NaN or infinite values.", remedy="Clean the data first."
                )
        if not isinstance(inputs, Tensor):
            self.packing = self.packing or Packing.of(inputs)
            inputs = self.packing.pack(inputs)
        return inputs, targets

    def _moved(self, part: Tensor) -> Tensor:
        return part.to(self._device, self._dtype if part.is_floating_point() else None)

    def holding(self, inputs: Tensor) -> Samples:
        """Samples without targets, of inputs that these gave."""
        plain = copy.copy(self)
        plain.inputs, plain.targets, plain.count, plain._dataset = inputs, None, len(inputs), None
        return plain

    def seen(self, index: Tensor, views: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(inputs, targets) of the samples in `index` [n] as the model saw them, with their `views` [n].

        Raises:
            DataError: views without a function that makes them, or one that does not give inputs of the same form.
        """
        inputs, targets = self.take(index)
        if views is None:
            return inputs, targets
        if self.view is None:
            raise DataError(
                f"The run saw views of its {self._role} samples, which cannot be replayed from the samples alone.",
                expected="train=explaind.Augmented(samples, view)",
                got="the samples without the function that makes their views",
                remedy="Pass the augmentation as a function of (inputs, views).",
            )
        plain = inputs if self.packing is None else self.packing.unpack(inputs, None)
        viewed: Any = self.view(plain, views.to(inputs.device))
        if self.packing is not None:
            viewed = self.packing.pack(viewed)
        if not isinstance(viewed, Tensor) or viewed.shape != inputs.shape or viewed.dtype != inputs.dtype:
            raise DataError(
                "The function that makes views does not give inputs that the model saw.",
                expected=f"a tensor of shape {tuple(inputs.shape)}, {inputs.dtype}",
                got=f"{tuple(viewed.shape)}, {viewed.dtype}"
                if isinstance(viewed, Tensor)
                else repr(type(viewed)),
            )
        return viewed, targets

    def to(self, dtype: torch.dtype, device: torch.device | None = None) -> Samples:
        """The same samples with floating-point inputs and targets in `dtype`, on `device`; integers stay integers."""
        moved = copy.copy(self)
        moved._dtype, moved._device = dtype, device
        moved.inputs = moved._moved(self.inputs)
        moved.targets = None if self.targets is None else moved._moved(self.targets)
        return moved


def first_samples(source: Any, count: int) -> tuple[Any, Tensor | None]:
    """(inputs, targets) of the first training samples, as they were passed and without what augments or cuts them."""
    while isinstance(source, Augmented | Tokens):
        source = source.samples
    return Samples(source, "train").given(slice(0, count))


def _positions(targets: Tensor | None) -> int:
    if targets is None or targets.dim() < 2:
        raise DataError(
            "The positions of sequences are to be credited, but the targets have none.",
            expected="targets [N, T], one for each position",
            got="no targets" if targets is None else f"targets of shape {tuple(targets.shape)}",
            remedy="Pass the samples without explaind.Tokens.",
        )
    return targets.shape[1]


def _values(inputs: Any) -> list[Tensor]:
    return list(inputs.values() if isinstance(inputs, dict) else inputs)
