"""What a model returns in the place of one tensor, and how to name the tensor in it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from explaind.errors import QueryError

__all__ = ["describe", "entry", "logits_of", "not_one_tensor", "returned_by"]

SHOWN = 8  # entries that are named


def describe(value: Any) -> str:
    """The type of a value and what is in it: "dict with the keys logits, loss", "tuple of Tensor, NoneType"."""
    kind, names = type(value).__name__, _names(value)
    if isinstance(value, Mapping):
        return f"{kind} with the keys {_listed(names)}" if names else f"{kind} without keys"
    if names:
        return f"{kind} with the fields {_listed(names)}"
    if isinstance(value, tuple | list):
        return f"{kind} of {_listed([type(part).__name__ for part in value])}" if value else f"empty {kind}"
    return kind


def logits_of(value: Any) -> Any:
    """The logits of what a model of Hugging Face's transformers returns; anything else as it is."""
    logits = getattr(value, "logits", None) if isinstance(value, Mapping) else None
    return logits if isinstance(logits, Tensor) else value


def not_one_tensor(value: Any) -> QueryError:
    """The refusal of a model that returns this."""
    return QueryError(
        "The model does not return one tensor.",
        expected="one tensor of outputs [n, …], a row for each of the n samples",
        got=describe(value),
        remedy=_ways_out(value),
    )


def entry(value: Any) -> str:
    """The code that takes the likeliest tensor out of a value: its logits, or else the first one."""
    if isinstance(value, Mapping):
        tensors = [key for key, part in value.items() if isinstance(part, Tensor) and part.dim()]
        key = "logits" if "logits" in tensors or not tensors else tensors[0]
        return f'["{key}"]' if isinstance(key, str) else f"[{key!r}]"
    if names := _names(value):
        tensors = [n for n in names if isinstance(part := getattr(value, n, None), Tensor) and part.dim()]
        return "." + ("logits" if "logits" in tensors or not tensors else tensors[0])
    if isinstance(value, tuple | list):
        return f"[{next((i for i, part in enumerate(value) if isinstance(part, Tensor) and part.dim()), 0)}]"
    return ".logits"


def returned_by(model: nn.Module, call: Callable[[], Any]) -> Any:
    """What the model returns inside a call that fails; None if it does not come so far."""
    values: list[Any] = []
    handle = model.register_forward_hook(lambda module, inputs, output: values.append(output))
    try:
        with contextlib.suppress(Exception):
            call()
    finally:
        handle.remove()
    return values[-1] if values else None


def _ways_out(value: Any) -> str:
    """The two ways to explain a tensor inside what a model returns, as code."""
    code = entry(value)
    return (
        f"Name the tensor to explain, either with the argument forward=lambda module, inputs: module(inputs){code} of "
        "explaind.record, rehearse, plan, influence and verify, or with a module around the model, whose parameters are "
        "recognised as the model's own:\n"
        "    class Outputs(nn.Module):\n"
        "        def __init__(self, model): super().__init__(); self.model = model\n"
        f"        def forward(self, inputs): return self.model(inputs){code}\n"
        "and pass Outputs(model) as the model"
    )


def _names(value: Any) -> list[str]:
    """Of its entries, where they have names."""
    if isinstance(value, Mapping):
        return [str(key) for key in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [field.name for field in dataclasses.fields(value)]
    return list(getattr(value, "_fields", ()))  # of a named tuple


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
