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

from explaind.recording.clipping import cut_entries

NO_GRADIENT = -1.0  # in the place of a norm


def gradient_norm(gradient: Tensor) -> Tensor:
    """Euclidean norm in float64, as a 0-dim tensor: no synchronisation with an accelerator."""
    return torch.linalg.vector_norm(gradient, dtype=torch.float64)


def dense(gradient: Tensor) -> Tensor:
    """The gradient with all its entries; embeddings may have only the rows that were looked up."""
    return gradient if gradient.layout == torch.strided else gradient.to_dense()


class GradientWatch:
    """Watches the gradients of parameters through hooks that only read.

    Args:
        on_reset: called once per reset with the number of backward passes that were discarded.
        held: does the optimizer hold this parameter by now? What it does not hold has no gradient here.

    Attributes:
        passes: backward passes in the gradients as they are now; 0 after an update.
        autocast: did a backward pass run under torch.autocast since the last update?
        stale: do the present gradients contain those of an update that was already made?
    """

    def __init__(
        self,
        on_reset: Callable[[int], None] = lambda passes: None,
        held: Callable[[Tensor], bool] = lambda parameter: True,
    ) -> None:
        self._on_reset, self._held = on_reset, held
        self._raw: dict[int, Tensor] = {}  # gradients right after the last backward
        self._seen: set[int] = set()
        self._fresh: dict[int, bool] = {}
        self._silent: dict[int, bool] = {}
        self._passes: dict[int, int] = {}
        self.stale = self.autocast = False
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
        self._raw.clear()

    def raw(self, parameter: Tensor) -> Tensor | None:
        """The gradient as the last backward left it, in the parameter's shape; None if there was none."""
        return self._raw.get(id(parameter))

    @property
    def passes(self) -> int:
        """How many backward passes the present gradients hold."""
        return max(self._passes.values(), default=0)

    def norms(self, parameters: Sequence[Tensor]) -> np.ndarray:
        """Norms right after the last backward and now, float64 [2, tensors]; the same twice for a gradient that was assigned.

        `NO_GRADIENT` twice for a parameter that has none.
        """
        none = torch.tensor(NO_GRADIENT, dtype=torch.float64)
        has = [parameter.grad is not None and self._held(parameter) for parameter in parameters]
        now = [gradient_norm(dense(p.grad)) if one else none for p, one in zip(parameters, has, strict=True)]
        then = [
            norm if not one or id(parameter) not in self._seen else gradient_norm(self._raw[id(parameter)])
            for parameter, norm, one in zip(parameters, now, has, strict=True)
        ]
        both = [norm.to(now[0].device) for norm in (*then, *now)]
        return torch.stack(both).cpu().numpy().reshape(2, -1) if both else np.empty((2, 0))

    def cut(self, parameters: Sequence[Tensor], norms: np.ndarray) -> tuple[bool, dict[int, Tensor]]:
        """What was clipped entry by entry since the last backward: see `explaind.recording.clipping.cut_entries`."""
        raw = {key: self._raw[key] for key in self._seen}
        self._seen.clear()
        return cut_entries(raw, parameters, norms)

    def used(self) -> None:
        """The optimizer has taken the present gradients."""
        self.stale = self.autocast = False
        self._passes.clear()

    def _arriving(self, parameter: Tensor) -> Callable[[Tensor], None]:
        def hook(_: Tensor) -> None:
            gradient, key = parameter.grad, id(parameter)
            self.autocast = self.autocast or torch.is_autocast_enabled(parameter.device.type)
            empty = gradient is None or not bool(dense(gradient).any())
            # Zeros are what a reset leaves; but what was zero before tells nothing.
            before = self._raw[key] if key in self._seen else None
            self._fresh[key] = empty and (gradient is None or before is None or bool(before.any()))
            self._silent[key] = empty and not self._fresh[key]

        return hook

    def _arrived(self, parameter: Tensor) -> None:
        key = id(parameter)
        silent = self._silent.pop(key, False)
        if not self._held(parameter):
            return
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
        if parameter.grad is not None:
            self._keep(key, dense(parameter.grad.detach()))

    def _keep(self, key: int, gradient: Tensor) -> None:
        """Copy a gradient as backward left it, into the room of the one before."""
        kept = self._raw.get(key)
        if kept is None or kept.shape != gradient.shape or kept.device != gradient.device:
            self._raw[key] = gradient.clone()
        else:
            kept.copy_(gradient)
        self._seen.add(key)
