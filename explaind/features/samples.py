"""Samples by index: a pair of tensors, a tensor of inputs, or a torch Dataset, seen the same way; arrays of NumPy as tensors.

`Augmented` adds how a run saw them: data augmentation is replayed from the views that were recorded, one number per sample.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, default_collate

from explaind.errors import DataError

View = Callable[[Tensor, Tensor], Tensor]
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


class Samples:
    """Inputs and, where there are any, targets, both indexed by sample along their first dimension.

    Args:
        source: inputs [N, …]; a pair (inputs [N, …], targets [N, …]); or a Dataset of (input, target) items, which is
            collated once and held in memory; or any of these as `Augmented`. Arrays of NumPy count as tensors of their dtype.
        role: what the samples are ("train" or "test"), for messages.

    Raises:
        DataError: lengths differ, there are no samples, inputs hold NaN or infinities, or an array is not of numbers.
    """

    def __init__(self, source: Any, role: str) -> None:
        self.view: View | None = None
        if isinstance(source, Augmented):
            source, self.view = source.samples, source.view
        self._role = role
        source = _collated(source, role)
        self.inputs, self.targets = _pair(source, role)
        _check_batched(self.inputs, self.targets, role)
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
        viewed = self.view(inputs, views.to(inputs.device))
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
        moved.inputs, moved.targets = (  # type: ignore[assignment] # inputs stay tensors
            part if part is None else part.to(device, dtype if part.is_floating_point() else None)
            for part in (self.inputs, self.targets)
        )
        return moved


def _collated(source: Any, role: str) -> Any:
    """The samples of a Dataset as tensors; anything else as it is.

    Raises:
        DataError: the samples cannot be indexed, or do not form tensors.
    """
    if isinstance(source, DataLoader | IterableDataset):
        raise DataError(
            f"The {role} samples come in an order that cannot be indexed.",
            expected="a tensor of inputs, a pair (inputs, targets) of tensors, or a torch Dataset with an index",
            got=type(source).__name__,
            remedy="Pass loader.dataset, which the recorded indices refer to."
            if isinstance(source, DataLoader)
            else "Collect the samples into tensors once, in the order that Recorder.batch counted them.",
        )
    if isinstance(source, TensorDataset):
        return source.tensors
    if not isinstance(source, Dataset):
        return source
    try:
        items = [source[i] for i in range(len(source))]  # type: ignore[arg-type] # without a length: refused below
        return default_collate(items) if items else (torch.zeros(0), None)
    except (TypeError, NotImplementedError, RuntimeError, KeyError, IndexError, ValueError) as error:
        raise DataError(
            f"The {role} Dataset does not give samples that form tensors.",
            expected="a length, and items (input, target) of tensors or numbers, all of one shape",
            got=f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}",
            remedy="Pad or stack the samples into tensors (inputs, targets) and pass these.",
        ) from error


def _check_batched(inputs: Tensor, targets: Tensor | None, role: str) -> None:
    for what, part in (("inputs", inputs), ("targets", targets)):
        if part is not None and part.dim() == 0:
            raise DataError(
                f"The {role} {what} have no axis of samples.",
                expected="inputs [n, …] and targets [n, …], also for one sample",
                got=f"inputs of shape {tuple(inputs.shape)}"
                + ("" if targets is None else f", targets of shape {tuple(targets.shape)}"),
                remedy="Pass (x.unsqueeze(0), y.unsqueeze(0)) for one sample.",
            )
        if part is not None and part.layout != torch.strided:
            raise DataError(
                f"The {role} {what} are not a dense tensor.",
                expected="torch.strided",
                got=str(part.layout),
                remedy="Convert them with .to_dense().",
            )


def as_tensor(values: Any, role: str) -> Any:
    """An array of NumPy as a tensor of the same dtype, without a copy where torch can use its memory; anything else as it is.

    Raises:
        DataError: the array does not hold numbers or truth values, or is masked.
    """
    if not isinstance(values, np.ndarray):
        return values
    if isinstance(values, np.ma.MaskedArray):
        raise DataError(
            f"The {role} samples are a masked array, and a tensor has no mask.",
            expected="an array without missing values",
            got=f"{int(np.ma.count_masked(values))} masked of {values.size} values",
            remedy="Fill it first: values.filled(...).",
        )
    try:
        native = np.asarray(values, dtype=values.dtype.newbyteorder("="), order="C")
        return torch.from_numpy(native if native.flags.writeable else native.copy())
    except TypeError as error:
        raise DataError(
            f"The {role} samples are an array that cannot be a tensor.",
            expected="an array of numbers or truth values, such as float32, float64, int64 or bool",
            got=f"an array of dtype {values.dtype}, shape {values.shape}",
            remedy="Stack the samples into one array of numbers: np.stack(list(samples)) where all have one shape, or pad them.",
        ) from error


def _pair(source: Any, role: str) -> tuple[Tensor, Tensor | None]:
    source = as_tensor(source, role)
    if isinstance(source, Tensor):
        return source, None
    pair = tuple(as_tensor(part, role) for part in source) if isinstance(source, tuple | list) else ()
    if len(pair) == 1 and isinstance(pair[0], Tensor):
        return pair[0], None
    if len(pair) == 2 and isinstance(pair[0], Tensor) and isinstance(pair[1], Tensor | None):
        return pair
    inside = f" of {', '.join(type(part).__name__ for part in pair[:6])}" if pair else ""
    raise DataError(
        f"The {role} samples are not in a form that can be indexed.",
        expected="a tensor or array of inputs, a pair (inputs, targets) of them, or a torch Dataset of such pairs",
        got=type(source).__name__ + inside,
        remedy="Put several inputs of a sample into one tensor, and take them apart in forward=, a function of "
        "(module, inputs).",
    )
