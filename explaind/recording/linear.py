"""What is recorded of an optimizer of `explaind.optimizers`: the equations of each update, and its state."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from explaind.optimizers import COEFFICIENTS, After, Before, LinearRule
from explaind.recording.layout import Layout


class LinearReader:
    """Reads the equations of each update by the optimizer's rule.

    Args:
        rule: of this optimizer.
        optimizer, parameters, layout: whose tensors it moves, in the layout's order.
    """

    def __init__(
        self, rule: LinearRule, optimizer: Optimizer, parameters: Sequence[Tensor], layout: Layout
    ) -> None:
        self._rule, self._optimizer = rule, optimizer
        self._parameters, self._layout = parameters, layout
        self._kept: list[Any] = [None] * len(parameters)

    @torch.no_grad()
    def before(self) -> None:
        """Read what the update will overwrite."""
        self._options = [numbers(group) for group in self._optimizer.param_groups]
        if self._rule.before is None:
            return
        for index, (parameter, group) in enumerate(zip(self._parameters, self._layout.group, strict=True)):
            options = self._options[group]
            gradient = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
            gradient = -gradient if options.get("maximize") else gradient
            state = self._optimizer.state.get(parameter, {})
            self._kept[index] = self._rule.before(Before(options, state, gradient, parameter.detach()))

    @torch.no_grad()
    def after(self, rows: Mapping[str, np.ndarray]) -> None:
        """Write the update's row of every array that `explaind.recording.schema` has for a linear rule."""
        flat = torch.from_numpy(rows["preconditioner"]) if "preconditioner" in rows else None
        outs = [None] * len(self._parameters) if flat is None else self._layout.unflatten(flat).values()
        known: set[int] = set()
        for index, (parameter, group, out) in enumerate(
            zip(self._parameters, self._layout.group, outs, strict=True)
        ):
            state = self._optimizer.state[parameter]
            count = steps_made(state, self._optimizer.param_groups[group])
            after = After(self._options[group], state, count or 0, parameter.detach(), self._kept[index])
            if out is not None:
                out.copy_(self._rule.diagonal(after))
            if self._rule.trust is not None:
                rows["trust"][index] = self._rule.trust(after)
            if group not in known:
                known.add(group)
                scalars = self._rule.scalars(after)
                sign = -1.0 if after.options.get("maximize") else 1.0
                rows["coefficients"][group] = [getattr(scalars, name, sign) for name in COEFFICIENTS]
        self._kept = [None] * len(self._parameters)


def numbers(group: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a group, tensors of one element as numbers."""

    def plain(value: Any) -> Any:
        if isinstance(value, Tensor) and value.numel() == 1:
            return value.item()
        return tuple(plain(one) for one in value) if isinstance(value, tuple | list) else value

    return {name: plain(value) for name, value in group.items() if name != "params"}


def steps_made(state: Mapping[str, Any], group: Mapping[str, Any]) -> int | None:
    """t, which some optimizers keep for each tensor and some for a group; None if neither does."""
    counter = state.get("step", group.get("step"))
    return None if counter is None else int(counter)


def state_of(optimizer: Optimizer, parameters: Sequence[Tensor]) -> dict[str, Any]:
    """The whole state of these tensors: `states`, one for each, and `steps`, the counters of groups."""
    states = [dict(optimizer.state.get(parameter, {})) for parameter in parameters]
    return {"states": states, "steps": [group.get("step") for group in optimizer.param_groups]}


def pack_state(optimizer: Optimizer, parameters: Sequence[Tensor]) -> bytes:
    """The whole state of these tensors, as it is now."""
    file = io.BytesIO()
    torch.save(state_of(optimizer, parameters), file)
    return file.getvalue()


def unpack_state(optimizer: Optimizer, parameters: Sequence[Tensor], packed: bytes) -> None:
    """Put a packed state back."""
    content = torch.load(io.BytesIO(packed), weights_only=True)
    for parameter, state in zip(parameters, content["states"], strict=True):
        optimizer.state[parameter] = state
    for group, step in zip(optimizer.param_groups, content["steps"], strict=True):
        if step is not None:
            group["step"] = step
