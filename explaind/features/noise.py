"""Random numbers of a forward pass as values: drawn once for a whole batch, then handed to each of its samples.

A pass is run with the generator's recorded state while every random operation hands over what it drew (`Drawn`). The same
operations are then evaluated with these values in the place of new ones (`Given`), for one sample, for others of the same
batch, in another precision, and under any transform of torch.func. `explaind.features.random_operations` says what each
operation's noise is and how its result follows from it.

Functions of torch.nn.functional that are written in Python are entered, so that only torch's own operations are met.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from explaind.errors import QueryError
from explaind.features.random_operations import OPERATIONS
from explaind.recording.forward_passes import generator_state, set_generator_state

_HANDS_OVER = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")


@contextlib.contextmanager
def at_state(device: str, state: Tensor) -> Iterator[None]:
    """Within the block the device's generator goes on from a state; then from where it was."""
    before = generator_state(device)
    set_generator_state(device, state)
    try:
        yield
    finally:
        set_generator_state(device, before)


class _Source(TorchFunctionMode):
    """Meets every operation of torch, and supplies the noise of random ones."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        operation = OPERATIONS.get(func)
        if operation is None:
            return func(*args, **(kwargs or {}))
        return operation(self.noise, func, *args, **(kwargs or {}))

    @abstractmethod
    def noise(self, draw: Callable[[], Tensor]) -> Tensor:
        """The noise of the operation that is met."""

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Within the block."""
        before = {name: getattr(F, name) for name in _HANDS_OVER}
        for name in _HANDS_OVER:
            setattr(F, name, lambda *_: False)
        try:
            with self:
                yield
        finally:
            for name, function in before.items():
                setattr(F, name, function)


class Drawn(_Source):
    """Draws from a generator's state and keeps what was drawn.

    Args:
        device: whose generator; it is left as it was.
        state: where it begins.
    """

    def __init__(self, device: str, state: Tensor) -> None:
        super().__init__()
        self._device, self._state = device, state
        self.drawn: list[Tensor] = []

    def noise(self, draw: Callable[[], Tensor]) -> Tensor:
        """Draw, without a graph."""
        with torch.no_grad():
            noise = draw()
        self.drawn.append(noise.detach())
        self._met = generator_state(self._device)
        return noise

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Within the block, from the given state on.

        Raises:
            QueryError: an operation drew random numbers that is not replayed.
        """
        self._met = self._state
        with at_state(self._device, self._state):
            with super().active():
                yield
            if not torch.equal(self._met, generator_state(self._device)):
                raise QueryError(
                    "The forward pass draws random numbers in a way that is not replayed.",
                    expected="dropout of any kind, rrelu, torch.rand, randn, bernoulli and their like",
                    got="an operation that changed the generator's state without being one of these",
                    remedy="Draw with torch.rand or torch.randn of the activation's shape.",
                )


class Given(_Source):
    """Uses noise that was drawn before, in order.

    Args:
        noise: one tensor for each random operation of the pass.
    """

    def __init__(self, noise: Sequence[Tensor]) -> None:
        super().__init__()
        self._left = list(noise)

    def noise(self, draw: Callable[[], Tensor]) -> Tensor:
        """The next one."""
        if not self._left:
            raise _differs("more random operations")
        return self._left.pop(0)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Within the block.

        Raises:
            QueryError: fewer random operations were met than there is noise.
        """
        with super().active():
            yield
        if self._left:
            raise _differs("fewer random operations")


def _differs(got: str) -> QueryError:
    return QueryError(
        "The forward pass of one sample draws other random numbers than that of its batch.",
        expected="the same random operations, whatever the number of samples",
        got=got,
        remedy="Draw the same numbers in every forward pass; or keep other axes than train.",
    )


Axis = tuple[int, int]
"""(axis, entries of one sample along it) of the samples of a batch in a noise tensor."""


def sample_axes(one: Sequence[Tensor], two: Sequence[Tensor]) -> list[Axis | None]:
    """Where the samples are in each noise tensor of a pass, from passes over one sample and over two; None: it is shared.

    Raises:
        QueryError: the noise of two samples is no noise of two single ones.
    """
    if len(one) != len(two):
        raise _differs("another number of random operations")
    axes: list[Axis | None] = []
    for single, double in zip(one, two, strict=True):
        differ = [i for i, (a, b) in enumerate(zip(single.shape, double.shape, strict=False)) if a != b]
        whole = single.dim() == double.dim() and all(double.shape[i] == 2 * single.shape[i] for i in differ)
        if not whole or len(differ) > 1:
            raise _differs(
                f"noise of shape {tuple(double.shape)} for two, {tuple(single.shape)} for one sample"
            )
        axes.append((differ[0], single.shape[differ[0]]) if differ else None)
    return axes


def by_sample(noise: Tensor, axis: Axis | None, count: int) -> Tensor:
    """Noise of a batch of `count` samples → [count, …], each of the shape that one sample's pass needs."""
    if axis is None:
        return noise.expand(count, *noise.shape)
    where, size = axis
    if noise.shape[where] != count * size:
        raise _differs(f"noise of shape {tuple(noise.shape)} for {count} samples")
    return noise.unflatten(where, (count, size)).movedim(where, 0)


def of_batch(noise: Tensor, axis: Axis | None) -> Tensor:
    """[count, …] → the noise of a batch of these samples."""
    if axis is None:
        return noise[0]
    where, _ = axis
    return noise.movedim(0, where).flatten(where, where + 1)
