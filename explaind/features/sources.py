"""What users pass as samples, as tensors: pairs, tensors, arrays of NumPy, torch Datasets, and inputs of several tensors.

A Dataset that is too large to be held in memory is read item by item, as each batch needs it; an array that is mapped from a file
(np.memmap) is read by the operating system in the same way.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, default_collate

from explaind.errors import DataError

IN_MEMORY = 1 << 30  # bytes of a Dataset that is collated at once
LABELS = "labels"  # key of the targets in a dictionary of inputs


def too_large(source: Any) -> bool:
    """Is this a Dataset whose samples are read when they are needed?"""
    if not isinstance(source, Dataset) or isinstance(source, TensorDataset | IterableDataset):
        return False
    try:
        count = len(source)  # type: ignore[arg-type] # without a length: refused elsewhere
        return count > 0 and count * _bytes(default_collate([source[0]])) > IN_MEMORY
    except Exception:  # said by `collated`
        return False


def collate(dataset: Any, index: list[int], role: str) -> tuple[Any, Tensor | None]:
    """(inputs, targets) of some samples of a Dataset."""
    return pair(_collated_items([dataset[k] for k in index], role), role)


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.dtype.itemsize
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
    return sum(_bytes(part) for part in parts)


def collated(source: Any, role: str) -> Any:
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
    except (TypeError, NotImplementedError, RuntimeError, KeyError, IndexError, ValueError) as error:
        raise _no_tensors(role, error) from error
    return _collated_items(items, role)


def _collated_items(items: list[Any], role: str) -> Any:
    try:
        return default_collate(items) if items else (torch.zeros(0), None)
    except (TypeError, NotImplementedError, RuntimeError, KeyError, IndexError, ValueError) as error:
        raise _no_tensors(role, error) from error


def _no_tensors(role: str, error: Exception) -> DataError:
    return DataError(
        f"The {role} Dataset does not give samples that form tensors.",
        expected="a length, and items (input, target) of tensors or numbers, all of one shape",
        got=f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}",
        remedy="Pad or stack the samples into tensors (inputs, targets) and pass these.",
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
        with warnings.catch_warnings():  # samples are not written to
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            return torch.from_numpy(native)
    except TypeError as error:
        raise DataError(
            f"The {role} samples are an array that cannot be a tensor.",
            expected="an array of numbers or truth values, such as float32, float64, int64 or bool",
            got=f"an array of dtype {values.dtype}, shape {values.shape}",
            remedy="Stack the samples into one array of numbers: np.stack(list(samples)) where all have one shape, or pad them.",
        ) from error


def pair(source: Any, role: str) -> tuple[Any, Tensor | None]:
    """(inputs, targets); inputs are a tensor, or a dictionary or tuple of tensors.

    Raises:
        DataError: it is none of these.
    """
    source = as_tensor(source, role)
    if isinstance(source, Tensor):
        return source, None
    if isinstance(source, Mapping):
        rest = dict(source)
        targets = as_tensor(rest.pop(LABELS, None), role)
        return _several(rest, role, source), targets
    if isinstance(source, tuple | list):
        parts = [as_tensor(part, role) for part in source]
        if len(parts) in (1, 2) and all(isinstance(part, Tensor | None) for part in parts[1:]):
            targets = parts[1] if len(parts) == 2 else None
            if isinstance(parts[0], Tensor):
                return parts[0], targets
            if isinstance(parts[0], Mapping | tuple | list):
                return _several(parts[0], role, source), targets
    raise _no_form(source, role)


def _several(inputs: Any, role: str, source: Any) -> dict[str, Tensor] | tuple[Tensor, ...]:
    """Inputs that are several tensors, each with the samples along its first axis."""
    named = isinstance(inputs, Mapping)
    parts = [as_tensor(part, role) for part in (inputs.values() if named else inputs)]
    if not parts or not all(isinstance(part, Tensor) for part in parts):
        raise _no_form(source, role)
    for part in parts:
        check_batched(part, None, role)
    if len({len(part) for part in parts}) > 1:
        raise DataError(
            f"The {role} inputs are tensors of different length.",
            expected="as many samples in each",
            got=", ".join(str(len(part)) for part in parts),
        )
    return dict(zip(inputs, parts, strict=True)) if named else tuple(parts)


def _no_form(source: Any, role: str) -> DataError:
    inside = ""
    if isinstance(source, tuple | list | Mapping):
        values = source.values() if isinstance(source, Mapping) else source
        inside = f" of {', '.join(type(part).__name__ for part in list(values)[:6])}"
    return DataError(
        f"The {role} samples are not in a form that can be indexed.",
        expected="a tensor or array of inputs, a pair (inputs, targets) of them, or a torch Dataset of such pairs",
        got=type(source).__name__ + inside,
        remedy="Inputs of several tensors are a dictionary of the model's keyword arguments or a tuple: "
        "(inputs, targets) with such inputs, or a dictionary with the targets under the key 'labels'.",
    )


def check_batched(inputs: Tensor, targets: Tensor | None, role: str) -> None:
    """Raise DataError unless both are dense and have an axis of samples."""
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
