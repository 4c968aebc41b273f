"""The gradient of a penalty: a part of the trained loss that depends on parameters alone, such as an L1 norm or a distance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from explaind.errors import QueryError
from explaind.features.functional import FunctionalModel

__all__ = ["Penalty", "PenaltyGradient"]

Penalty = Callable[[nn.Module], Tensor]
"""model → a scalar that depends on its parameters alone."""


class PenaltyGradient:
    """∇R(θ), where R is the penalty.

    Args:
        penalty: the function that was given to `Recorder.penalty`.
        model: the recorded model, in the dtype of the computation.
    """

    def __init__(self, penalty: Penalty, model: FunctionalModel) -> None:
        self.function, self._model = penalty, model
        self._checked = False

    def __call__(self, theta: Tensor) -> Tensor:
        """∇R at θ [D], [D].

        Raises:
            QueryError: it cannot be evaluated, is no scalar, is random, or does not depend on the parameters.
        """
        gradient = self._gradient(theta)
        if not self._checked:
            if not torch.equal(gradient, self._gradient(theta)):
                raise _refused("gradients that differ between two calls", "Take out what is random.")
            self._checked = True
        return gradient

    def _gradient(self, theta: Tensor) -> Tensor:
        layout = self._model.layout
        leaves = {n: v.detach().clone().requires_grad_() for n, v in layout.unflatten(theta).items()}
        with torch.enable_grad():
            try:
                value: Any = self._model.applied(self.function, leaves)
            except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
                raise _refused(
                    f"{type(error).__name__}: {error}", "Pass the function that was announced."
                ) from error
            if not isinstance(value, Tensor) or value.numel() != 1:
                shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise _refused(str(shape), "Return one number.")
            parts = [None] * len(leaves)
            if value.requires_grad:
                parts = torch.autograd.grad(value.sum(), list(leaves.values()), allow_unused=True)
            if all(part is None for part in parts):
                raise _refused(
                    "a value without a gradient to them",
                    "Compute it from the model that the function is given, not from another one.",
                )
        flat = [
            (torch.zeros_like(leaf) if part is None else part).reshape(-1)
            for part, leaf in zip(parts, leaves.values(), strict=True)
        ]
        return torch.cat(flat).detach().to(self._model.dtype)


def _refused(got: str, remedy: str) -> QueryError:
    return QueryError(
        "The penalty cannot be differentiated.",
        expected="penalty(model), a scalar tensor that depends on the model's parameters alone",
        got=got,
        remedy=remedy,
    )
