"""What happens to gradients between two updates: how large they were after backward, and whether one was discarded.

A gradient is *fresh* when backward finds none, or zeros: it was reset. A reset without an update in between means that the
backward passes before it never reached the optimizer (a gradient scaler that skipped its step, a guard against NaN). A gradient
that is not fresh right after an update means that the update's own gradient enters the next one as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

NO_GRADIENT = -1.0  # in the place of a norm


def gradient_norm(gradient: Tensor) -> Tensor:
    """Euclidean norm in float64, as a 0-dim tensor: no synchronisation with an accelerator."""
    return torch.linalg.vector_norm(gradient, dtype=torch.float64)


class GradientWatch:
    """Watches the gradients of parameters through hooks that only read.

    Args:
        on_reset: called once per reset with the number of backward passes that were discarded.

    Attributes:
        passes: backward passes in the gradients as they are now; 0 after an update.
        stale: do the present gradients contain those of an update that was already made?
    """

    def __init__(self, on_reset: Callable[[int], None] = lambda passes: None) -> None:
        self._on_reset = on_reset
        self._norms: dict[int, Tensor] = {}
        self._raw: dict[int, Tensor] | None = None
        self._fresh: dict[int, bool] = {}
        self._silent: dict[int, bool] = {}
        self._passes: dict[int, int] = {}
        self.stale = False
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def attach(self, parameters: Sequence[Tensor]) -> None:
        """Register the hooks."""
        for parameter in parameters:
            if not (parameter.is_floating_point() and parameter.is_leaf):
                continue
            frozen = not parameter.requires_grad
            parameter.requires_grad_(True)  # hooks need it, and one that is frozen now may learn later
            self._handles.append(parameter.register_hook(self._arriving(parameter)))
            self._handles.append(parameter.register_post_accumulate_grad_hook(self._arrived))
            if frozen:
                parameter.requires_grad_(False)

    def detach(self) -> None:
        """Remove all hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def keep_raw(self) -> None:
        """Copy every gradient after backward from now on; see `raw`."""
        self._raw = {}

    def raw(self, parameter: Tensor) -> Tensor | None:
        """The gradient as the last backward left it, in the parameter's shape; None if it was not copied."""
        return None if self._raw is None else self._raw.get(id(parameter))

    @property
    def passes(self) -> int:
        """How many backward passes the present gradients hold."""
        return max(self._passes.values(), default=0)

    def norms(self, parameters: Sequence[Tensor]) -> np.ndarray:
        """Norms right after the last backward and now, float64 [2, tensors]; the same twice for a gradient that was assigned.

        `NO_GRADIENT` twice for a parameter that has none.
        """
        none = torch.tensor(NO_GRADIENT, dtype=torch.float64)
        now = [none if parameter.grad is None else gradient_norm(parameter.grad) for parameter in parameters]
        then = [
            norm if parameter.grad is None else self._norms.get(id(parameter), norm)
            for parameter, norm in zip(parameters, now, strict=True)
        ]
        both = [norm.to(now[0].device) for norm in (*then, *now)]
        self._norms.clear()
        return torch.stack(both).cpu().numpy().reshape(2, -1) if both else np.empty((2, 0))

    def used(self) -> None:
        """The optimizer has taken the present gradients."""
        self.stale = False
        self._passes.clear()

    def _arriving(self, parameter: Tensor) -> Callable[[Tensor], None]:
        def hook(_: Tensor) -> None:
            gradient, key = parameter.grad, id(parameter)
            empty = gradient is None or gradient.layout != torch.strided or not bool(gradient.any())
            # Zeros are what a reset leaves; but what was zero before tells nothing.
            self._fresh[key] = empty and (gradient is None or bool(self._norms.get(key, 1.0) != 0))
            self._silent[key] = empty and not self._fresh[key]

        return hook

    def _arrived(self, parameter: Tensor) -> None:
        key = id(parameter)
        silent = self._silent.pop(key, False)
        if self._fresh.pop(key, True):
            if self._passes.get(key):
                discarded = self.passes
                self._passes.clear()
                self.stale = False
                self._on_reset(discarded)
        elif not silent and not self._passes.get(key):
            self.stale = True
        if not silent:
            self._passes[key] = self._passes.get(key, 0) + 1
        if parameter.grad is not None and parameter.grad.layout == torch.strided:
            self._norms[key] = gradient_norm(parameter.grad.detach())
            if self._raw is not None:
                copied = self._raw.get(key)
                self._raw[key] = (
                    parameter.grad.detach().clone()
                    if copied is None
                    else copied.copy_(parameter.grad.detach())
                )


def clip_factor(before: np.ndarray, after: np.ndarray, dtype: torch.dtype, size: int) -> tuple[float, bool]:
    """How gradients were scaled between backward and the update, from their norms per parameter.

    Args:
        before: norms right after backward, float64 [parameters].
        after: norms the optimizer sees, float64 [parameters].
        dtype: of the gradients, whose rounding the comparison allows for.
        size: D, for the rounding of gradients that are nearly zero.

    Returns:
        ‖after‖ / ‖before‖ over all parameters (exactly 1.0 when nothing was scaled), and whether the same factor
        explains each parameter.
    """
    if np.array_equal(before, after):
        return 1.0, True
    total = float(np.linalg.norm(before))
    factor = float(np.linalg.norm(after)) / total if total > 0 else 1.0
    info = torch.finfo(dtype)
    slack = 8 * info.eps * factor * before + info.tiny * info.eps * size**0.5
    return factor, bool(np.all(np.abs(after - factor * before) <= slack))


def factors(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """after / before of each parameter; 1 where there was nothing to scale."""
    return np.divide(after, before, out=np.ones_like(after), where=before > 0)
