"""The penalty that a training loop announces: a part of its loss that depends on parameters alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from explaind.errors import RecordingError

__all__ = ["Announced"]


class Announced:
    """The penalty of the coming updates. Only its weight is recorded.

    Args:
        model: whose parameters it depends on.

    Attributes:
        function: model → scalar; None before one was announced.
        weight: in the loss of the coming updates; 0 for none.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.function: Callable[[nn.Module], Tensor] | None = None
        self.weight = 0.0

    def announce(self, function: Callable[[nn.Module], Tensor], weight: Any) -> None:
        """See `Recorder.penalty`."""
        if self.function is not None and function is not self.function:
            raise RecordingError(
                "A second penalty was announced",
                expected="one function, with a weight for each update where it changes",
                got="another function than before",
                remedy="let one function return the sum of the penalties, or its terms by their weights",
            )
        value = float(weight)
        if not math.isfinite(value):
            raise RecordingError("The weight of the penalty is not finite", got=str(weight))
        if self.function is None:
            self._check(function)
        self.function, self.weight = function, value

    def _check(self, function: Callable[[nn.Module], Tensor]) -> None:
        """Is it a scalar with a gradient, the same in two calls? The random state stays as it is."""
        with torch.random.fork_rng(), torch.enable_grad():
            value, again = function(self._model), function(self._model)
        if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
            got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            problem, got = "The penalty is no scalar with a gradient to the parameters", got
        elif not torch.equal(value, again):
            problem, got = "The penalty is random", "another value in a second call"
        else:
            return
        raise RecordingError(
            problem,
            expected="penalty(model), a scalar tensor that depends on the model's parameters alone",
            got=got,
        )
