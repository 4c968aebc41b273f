"""Does a file hold the tensors of a model, and are their values possible? Messages name the file and the tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from explaind.checkpoints.tensor_files import Entry
from explaind.errors import StoreError

__all__ = [
    "MOMENTS",
    "MOMENT_DTYPES",
    "WEIGHT_DTYPES",
    "check_entry",
    "check_model",
    "check_names",
    "check_values",
]

MOMENTS = ("exp_avg", "exp_avg_sq")
WEIGHT_DTYPES = ("float32", "float16", "bfloat16")
MOMENT_DTYPES = ("float32", "bfloat16")


def check_names(
    expected: Iterable[str], tensors: Mapping[str, object], file: Callable[[str], object]
) -> None:
    """Are exactly the expected tensors there?

    Args:
        expected: names that the configuration implies.
        tensors: those that are there, by name.
        file: tensor → the file or model that holds it, or should, for messages.

    Raises:
        StoreError: the first tensor that is missing, or that the model does not have.
    """
    wanted = dict.fromkeys(expected)
    for name in wanted:
        if name not in tensors:
            raise StoreError(
                f"{file(name)} does not hold the tensor {name}",
                expected=f"the {len(wanted)} tensors that config.json implies",
                got=f"{len(tensors)} tensors without this one",
                remedy="check that the files and config.json belong to one model",
            )
    for name in tensors:
        if name not in wanted:
            raise StoreError(
                f"{file(name)} holds a tensor that the model does not have",
                expected=f"the {len(wanted)} tensors that config.json implies",
                got=name,
                remedy="check that the files and config.json belong to one model",
            )


def check_model(source: str, shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Tensor]) -> None:
    """Has a model exactly the parameters of a checkpoint?

    Args:
        source: name of the checkpoint, for messages.
        shapes: of its parameters, by name.
        parameters: the model's, by name.

    Raises:
        StoreError: the first parameter that one of them lacks, or that differs in shape.
    """
    for name in dict.fromkeys((*shapes, *parameters)):
        wanted = shapes.get(name)
        got = tuple(parameters[name].shape) if name in parameters else None
        if got != wanted:
            raise StoreError(
                f"The checkpoint {source} does not fit the model: {name} differs",
                expected="no such parameter" if wanted is None else f"shape {wanted}",
                got="no such parameter" if got is None else f"shape {got}",
                remedy="make the model from the checkpoint's config",
            )


def check_entry(
    source: object, name: str, entry: Entry, shape: tuple[int, ...], dtypes: tuple[str, ...]
) -> None:
    """Has a tensor the shape that the configuration implies, and a dtype that is read?

    Raises:
        StoreError: it has not.
    """
    if entry.shape != shape:
        raise StoreError(
            f"The tensor {name} in {source} has another shape than config.json implies",
            expected=str(shape),
            got=str(entry.shape),
            remedy="check that the file and config.json belong to one model",
        )
    if entry.dtype not in dtypes:
        raise StoreError(
            f"The tensor {name} in {source} has a dtype that is not read",
            expected=" or ".join(dtypes),
            got=entry.dtype,
            remedy="convert it; quantized tensors are no parameters that an optimizer moves",
        )


def check_values(source: object, name: str, values: Tensor, *, signed: bool = True) -> None:
    """Are all values finite, and none negative where that is impossible?

    Args:
        source: file or model that the tensor comes from.
        name: of the tensor.
        values: any shape.
        signed: may they be negative?

    Raises:
        StoreError: they are not.
    """
    finite = torch.isfinite(values)
    if not finite.all():
        raise StoreError(
            f"The tensor {name} of {source} is not finite",
            expected="numbers",
            got=f"{int((~finite).sum())} of {values.numel()} entries infinite or NaN",
            remedy="use an earlier checkpoint, or restore the file from a copy",
        )
    if not signed and values.numel() and values.min() < 0:
        raise StoreError(
            f"The tensor {name} of {source} is negative",
            expected="averages of squares, 0 or more",
            got=f"{float(values.min())}",
            remedy="check that exp_avg and exp_avg_sq were not exchanged",
        )
