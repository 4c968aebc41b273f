"""Test samples explained for the model in training mode, with random numbers that are drawn once and stated.

One forward pass over all samples, from a generator started with a seed, draws the masks. They are then part of the samples: each
one's numbers lie beside its inputs as bytes, and whoever evaluates the model there (blocks, tangents, single samples by vmap,
another precision, other parameters) evaluates it with the same masks.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from explaind.errors import QueryError
from explaind.features.functional import FunctionalModel
from explaind.features.noise import Axis, Drawn, Given, by_sample, of_batch, sample_axes
from explaind.features.packing import Packing
from explaind.features.samples import Samples
from explaind.recording.forward_passes import Mode

__all__ = ["Masked", "MaskedModel", "chosen_tests", "with_masks"]


@dataclass(frozen=True)
class Masked:
    """Test samples of which the model in training mode is explained: its dropout is active, with one mask for each sample.

    The masks are those of `torch.manual_seed(seed); model.train(); model(inputs)` with all samples in one batch. They are the
    same at all parameters, so what is explained is a fixed function of the parameters.

    Args:
        samples: as for `explaind.influence(test=...)`.
        seed: of the generator that draws.
        only: numbers of the samples that are explained, with the masks of one pass over all of them; None for all.

    Example:
        >>> test = explaind.Masked((inputs, labels), seed=0)  # doctest: +SKIP
    """

    samples: Any
    seed: int
    only: tuple[int, ...] | None = None


def chosen_tests(test: Any, index: Sequence[int] | slice) -> Any:
    """Some test samples, out of any form in which they may be passed, numbered from 0 again. Masks stay as they were.

    Raises:
        DataError: they are of no such form.
    """
    if isinstance(test, Masked):
        count = len(Samples(test.samples, "test")) if test.only is None else len(test.only)
        known = range(count) if test.only is None else test.only
        taken = range(count)[index] if isinstance(index, slice) else index
        return replace(test, only=tuple(known[i] for i in taken))
    rows = index if isinstance(index, slice) else torch.tensor(index, dtype=torch.int64)
    inputs, targets = Samples(test, "test").given(rows)
    return inputs if targets is None and isinstance(inputs, Tensor) else (inputs, targets)


class MaskedModel(FunctionalModel):
    """The model in training mode on samples that carry what they draw.

    Args:
        model: in any mode and precision.
        dtype, mode, how: of this one, see `FunctionalModel`.
        parts: where inputs and noise are among a sample's bytes.
        axes: where the samples are in the noise of each random operation.
    """

    def __init__(
        self,
        model: FunctionalModel,
        dtype: torch.dtype,
        mode: Mode,
        parts: Packing,
        axes: Sequence[Axis | None],
        **how: Any,
    ) -> None:
        super().__init__(*model.made_of(dtype, mode), **how)
        self._mode, self._parts, self._axes = mode, parts, axes
        self._probed = False  # with the noise given, nothing changes from call to call

    def _with(self, dtype: torch.dtype, mode: Mode | None, **how: bool) -> FunctionalModel:
        return MaskedModel(self, dtype, mode or self._mode, self._parts, self._axes, **how)

    def _evaluate(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> Any:
        x, *noise = cast("tuple[Tensor, ...]", self._parts.unpack(inputs, None))  # its parts have no names
        x = x.to(self.dtype) if x.is_floating_point() else x
        whole = [of_batch(part, axis) for part, axis in zip(noise, self._axes, strict=True)]
        with Given(whole).active():
            return super()._evaluate(parameters, x)


def with_masks(
    model: FunctionalModel, samples: Samples, given: Masked, theta: Mapping[str, Tensor]
) -> tuple[MaskedModel, Samples]:
    """The model in training mode, and the samples with what one pass over them draws.

    Args:
        model: in evaluation mode, in the precision of the computation.
        samples: all that were given, in that precision too, on its device.
        given: says the seed, and which of them are explained.
        theta: any parameters, by name: what is drawn does not depend on them.

    Raises:
        QueryError: the seed is none; nothing is drawn; samples are normalised together; or a random operation is not replayed.
    """
    seed, count = given.seed, len(samples)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 63:
        raise QueryError(
            "The seed of explaind.Masked is not usable.",
            expected="a whole number from 0 to 2⁶³ − 1",
            got=repr(seed),
        )
    if given.only is not None and not (given.only and all(_is_place(i, count) for i in given.only)):
        raise QueryError(
            "The explained samples of explaind.Masked are not usable.",
            expected=f"at least one whole number from 0 to {count - 1}",
            got=repr(given.only)[:80],
        )
    own, mode = model.layout.dtype, Mode(model.device.type, True, (), None)
    training = model.converted(own, mode)
    if training.mixes:
        raise QueryError(
            "The model in training mode normalises the test samples together.",
            expected="a model whose output for a sample depends on that sample alone",
            got="batch normalisation in training mode",
            remedy="Pass the samples without explaind.Masked, or explain a model with GroupNorm or LayerNorm.",
        )
    state = torch.Generator(model.device).manual_seed(seed).get_state()
    named = {name: value.to(own) for name, value in theta.items()}

    def draw(inputs: Tensor) -> list[Tensor]:
        drawn = Drawn(model.device.type, state)
        with torch.no_grad(), drawn.active():
            training.raw(named, inputs.to(own) if inputs.is_floating_point() else inputs)
        return drawn.drawn

    x = samples.inputs
    noise = draw(x)
    if not noise:
        raise QueryError(
            "The model draws no random numbers in training mode.",
            expected="dropout, or another random operation that follows module.training",
            remedy="Pass the test samples without explaind.Masked.",
        )
    axes = sample_axes(draw(x[:1]), draw(torch.cat([x[:1], x[:1]])))
    parts = (x, *(by_sample(part, axis, len(x)) for part, axis in zip(noise, axes, strict=True)))
    packing = Packing.of(parts)
    masked = copy.copy(samples)
    masked.inputs = packing.pack(parts)
    if given.only is not None:
        index = torch.tensor(given.only, dtype=torch.int64, device=x.device)
        masked.inputs, masked.count = masked.inputs[index], len(index)
        masked.targets = None if samples.targets is None else samples.targets[index]
    return MaskedModel(model, model.dtype, mode, packing, axes), masked


def _is_place(number: object, count: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < count
