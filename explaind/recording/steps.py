"""One update as it was observed: its batches, its options, its clipping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from explaind.errors import RecordingError
from explaind.recording.forward_passes import ForwardPass


@dataclass(frozen=True)
class MicroBatch:
    """Samples whose gradients entered one update together.

    Attributes:
        indices: int64 [B], positions in the training set; a sample may occur more than once.
        weights: None: the gradient of loss_fn(model(x[indices]), y[indices]) itself; a float c: c times that;
            float64 [B]: Σ_k w_k · loss_fn of sample k alone.
        views: int64 [B], which view of each sample the model saw (flipped or not, an offset, a seed); None: the sample itself.
        forward: how the forward pass ran; None: as the model in evaluation mode does.
    """

    indices: Tensor
    weights: float | Tensor | None = None
    views: Tensor | None = None
    forward: ForwardPass | None = None


@dataclass(frozen=True)
class StepRecord:
    """Update s, from θ_s to θ_{s+1}. Tuples have one entry per optimizer group.

    Attributes:
        lr, weight_decay, beta1, beta2, eps, momentum, dampening: as the optimizer used them (0 where it has none).
        nesterov, maximize: the optimizer's flags.
        count: t, the optimizer's own step counter after this update. SGD keeps none: there it counts the recorded
            updates, plus one if a momentum buffer existed before the first.
        clip_factor: norm of the gradient the optimizer saw ÷ its norm right after backward; 1.0 without clipping.
        clip_uniform: whether every parameter's gradient was scaled by that factor, up to rounding.
        gradient_norms: norm of each tensor's gradient as the optimizer got it.
        clip_factors: the same divided by its norm right after backward, per tensor of θ.
        batches: the micro-batches, in order.
        active: per tensor of θ, did it have a gradient? The optimizer leaves the others alone. Empty where all always had one.
        counts: per tensor of θ, how many updates it took part in, this one included, since its state was last emptied; empty
            where that is `count` for all.
        reset: the tensors of θ whose optimizer state was emptied just before.
    """

    lr: tuple[float, ...]
    weight_decay: tuple[float, ...]
    beta1: tuple[float, ...]
    beta2: tuple[float, ...]
    eps: tuple[float, ...]
    momentum: tuple[float, ...]
    dampening: tuple[float, ...]
    nesterov: tuple[bool, ...]
    maximize: tuple[bool, ...]
    count: int
    clip_factor: float
    clip_uniform: bool
    batches: tuple[MicroBatch, ...]
    gradient_norms: tuple[float, ...] = ()
    clip_factors: tuple[float, ...] = ()
    active: tuple[bool, ...] = ()
    counts: tuple[int, ...] = ()
    reset: tuple[int, ...] = ()


def micro_batch(indices: Any, weights: Any = None, views: Any = None) -> MicroBatch:
    """Check and copy what the user passes to `Recorder.batch`.

    Args:
        indices, weights, views: tensors, arrays, sequences (of numbers or of 0-dim tensors), or iterators, which are used up.

    Raises:
        RecordingError: indices are not a non-empty list of integers ≥ 0, or weights or views do not fit them.
    """
    copied = _vector(indices, "samples")
    if copied.dim() != 1 or len(copied) == 0 or not _is_whole(copied):
        raise RecordingError(
            "The samples of a batch must be given by their indices",
            expected="a non-empty 1-D sequence of integers",
            got=f"shape {tuple(copied.shape)}, {copied.dtype}",
            remedy="pass the positions in the training set, not the samples or a mask; "
            "mask.nonzero().flatten() turns a mask into positions",
        )
    copied = copied.to(torch.int64)
    if int(copied.min()) < 0:
        raise RecordingError(
            "An index of the batch is negative", expected="0 or more", got=str(int(copied.min()))
        )
    seen = None if views is None else _views(views, len(copied))
    if weights is None:
        return MicroBatch(copied, None, seen)
    scale = _vector(weights, "weights")
    if scale.is_complex() or scale.dim() > 1 or (scale.dim() == 1 and len(scale) != len(copied)):
        raise RecordingError(
            "The weights of a batch do not fit its indices",
            expected=f"None, one number, or {len(copied)} numbers",
            got=f"shape {tuple(scale.shape)}" + (f", {scale.dtype}" if scale.is_complex() else ""),
        )
    scale = scale.to(torch.float64)
    if not bool(torch.isfinite(scale).all()):
        raise RecordingError("A weight of the batch is not finite", expected="finite numbers")
    return MicroBatch(copied, float(scale) if scale.dim() == 0 else scale, seen)


def _views(views: Any, count: int) -> Tensor:
    copied = _vector(views, "views")
    if copied.shape != (count,) or not (_is_whole(copied) or copied.dtype == torch.bool):
        raise RecordingError(
            "The views of a batch do not fit its indices",
            expected=f"{count} whole numbers or truth values, one for each sample",
            got=f"shape {tuple(copied.shape)}, {copied.dtype}",
            remedy="pass what the augmentation needs to make each sample again: a flag, an offset, or a seed",
        )
    return copied.to(torch.int64)


def _is_whole(values: Tensor) -> bool:
    return not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)


def scalar(value: float | Tensor) -> float:
    """A logged number, from a number or a 0-dim tensor that may still require a gradient."""
    return float(value.detach() if isinstance(value, Tensor) else value)


def _vector(values: Any, what: str) -> Tensor:
    """A private copy on the CPU, since the caller may reuse its buffer for the next batch.

    Raises:
        RecordingError: no tensor can be made of the values, or their order is not defined.
    """
    if isinstance(values, slice):
        raise _not_listed(what, repr(values), "write out the positions, such as range(start, stop)")
    if isinstance(values, Set | Mapping):
        raise _not_listed(what, f"a {type(values).__name__}, which has no order", "pass a list")
    if isinstance(values, str | bytes):
        raise _not_listed(what, type(values).__name__, "pass a list of numbers")
    try:
        if isinstance(values, Tensor):
            return values.detach().to("cpu", copy=True).to_dense()
        if isinstance(values, range) and values:
            return torch.arange(values.start, values.stop, values.step)
        if isinstance(values, list | tuple) and values and set(map(type, values)) == {int}:
            return torch.tensor(values)  # the usual case, without a look at each number
        if isinstance(values, Sequence | Iterator):
            return _listed([_number(value) for value in values])
        array = np.array(values)  # also what offers itself as an array: a data frame's column, an index
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise _not_listed(what, f"{type(values).__name__} ({error})", "pass a list of numbers") from error


def _listed(values: list[Any]) -> Tensor:
    if not values:
        return torch.zeros(0, dtype=torch.int64)
    truths = {isinstance(value, bool | np.bool_) for value in values}
    if len(truths) > 1:  # torch would count True as 1
        raise TypeError("truth values among numbers")
    listed = torch.tensor(values)
    # torch would make single precision of Python's numbers, and a weight of 0.1 is then another one.
    return torch.tensor(values, dtype=torch.float64) if listed.is_floating_point() else listed


def _number(value: Any) -> Any:
    """A Python number from a tensor or array that holds one; a list from a larger one."""
    if not isinstance(value, Tensor | np.ndarray):
        return value
    return value.item() if value.reshape(-1).shape[0] == 1 else value.tolist()


def _not_listed(what: str, got: str, remedy: str) -> RecordingError:
    return RecordingError(
        f"The {what} of a batch cannot be read",
        expected="a 1-D tensor, array or sequence of numbers",
        got=got,
        remedy=remedy,
    )
