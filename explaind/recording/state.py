"""The optimizer's state: momentum, second moment, step counter, and the options of a step.

Notation: `buffer` is m (Adam's exp_avg, SGD's momentum_buffer) and `second_moment` is v (exp_avg_sq), both flat [D];
`count` is t, the number of updates the optimizer has made.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from explaind.optimizers import LINEAR
from explaind.recording.layout import Layout
from explaind.recording.linear import numbers, steps_made
from explaind.recording.schema import HYPERPARAMETERS
from explaind.recording.together import Together


@dataclass(frozen=True)
class OptimizerState:
    """m [D], v [D] (zeros for others than Adam) and t. Without history all are zero.

    `counts` is t of each tensor, where they differ; else empty.
    """

    buffer: Tensor
    second_moment: Tensor
    count: int
    counts: tuple[int, ...] = ()


def flat_copy(tensors: Sequence[Tensor], out: Tensor) -> None:
    """Copy tensors, one after the other, into `out` [D] on the CPU."""
    parts = [tensor.detach().reshape(-1) for tensor in tensors]
    if not parts:
        return
    if parts[0].device == out.device and all(part.device == out.device for part in parts):
        torch.cat(parts, out=out)
    else:
        out.copy_(torch.cat([part.to(parts[0].device) for part in parts]))


def read_state(
    optimizer: Optimizer | Together, parameters: Sequence[Tensor], layout: Layout, names: Sequence[str]
) -> OptimizerState:
    """The optimizer's state before its next update; a tensor that it does not hold has none.

    Args:
        optimizer, parameters, layout: whose state.
        names: of the equations of each parameter group; rows of tensors that join later follow the first.
    """
    buffer, second = (
        torch.zeros(layout.size, dtype=layout.dtype),
        torch.zeros(layout.size, dtype=layout.dtype),
    )
    views = zip(layout.unflatten(buffer).values(), layout.unflatten(second).values(), strict=True)
    held = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    counts: list[int | None] = [None] * len(parameters)
    for index, (parameter, (m, v)) in enumerate(zip(parameters, views, strict=True)):
        group = layout.group[index]
        name = names[group] if group < len(names) else names[0]
        state = optimizer.state.get(parameter, {})
        if name in LINEAR:
            history = state.get(LINEAR[name].buffer)
            made = steps_made(state, held.get(id(parameter), {}))
            counts[index] = int(history is not None) if made is None else made
        elif name == "SGD":
            if id(parameter) in held and held[id(parameter)]["momentum"] == 0:
                continue
            history = state.get("momentum_buffer")
            counts[index] = int(history is not None)
        else:
            history = state.get("exp_avg")
            counts[index] = int(state["step"]) if state else 0
            if state:
                v.copy_(state["exp_avg_sq"])
        if history is not None:
            m.copy_(history.to_dense())
    known = {count for count in counts if count is not None}
    common = max(known, default=0)
    each = tuple(common if count is None else count for count in counts) if len(known) > 1 else ()
    return OptimizerState(buffer, second, common, each)


def restore_state(
    optimizer: Optimizer | Together,
    parameters: Sequence[Tensor],
    layout: Layout,
    names: Sequence[str],
    state: OptimizerState,
    sparse: Collection[int] = (),
) -> None:
    """Put a recorded state back; the next update is then the one that would have followed.

    Args:
        optimizer, parameters, layout, names: as of `read_state`.
        state: the recorded one.
        sparse: ids of parameters whose gradients, and so momentum, hold only the rows that were looked up.
    """
    views = zip(
        layout.unflatten(state.buffer).values(), layout.unflatten(state.second_moment).values(), strict=True
    )
    held = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    counts = state.counts or (state.count,) * len(layout.names)
    for parameter, row, count, (m, v) in zip(parameters, layout.group, counts, views, strict=True):
        if id(parameter) not in held:
            continue
        group = held[id(parameter)]
        own = optimizer.state[parameter] = {}
        if names[row] == "SGD":
            if group["momentum"] != 0 and count:
                buffer = torch.empty_like(parameter).copy_(m).detach()
                own["momentum_buffer"] = buffer.to_sparse(1) if id(parameter) in sparse else buffer
            continue
        if not count:
            continue
        # As torch initialises it: on the CPU in the default dtype, on the device in float32 for fused kernels.
        fused = bool(group.get("fused"))
        double = torch.get_default_dtype() == torch.float64 and not fused
        own["step"] = torch.tensor(
            float(count),
            dtype=torch.float64 if double else torch.float32,
            device=parameter.device if fused else "cpu",
        )
        own["exp_avg"] = torch.empty_like(parameter).copy_(m).detach()
        own["exp_avg_sq"] = torch.empty_like(parameter).copy_(v).detach()


def read_hyperparameters(groups: Sequence[Mapping[str, Any]], out: np.ndarray) -> None:
    """Write the options of the coming update into `out` [groups, HYPERPARAMETERS], 0 where the optimizer has none."""
    for row, group in zip(out, groups, strict=True):
        beta1, beta2 = group.get("betas", (0.0, 0.0))[:2]
        values = numbers({**group, "beta1": beta1, "beta2": beta2})
        row[:] = [_number(values.get(option)) for option in HYPERPARAMETERS]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
