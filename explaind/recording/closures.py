"""`optimizer.step(closure)`: the closure makes the gradients that the recorder has to see before the update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from explaind.errors import RecordingError

__all__ = ["Arguments", "after_closure"]

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def after_closure(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments | None:
    """Call the closure that `step` was given, and say with which arguments it goes on: a closure that only returns the loss.

    Every optimizer that can be recorded calls its closure once, before anything else, so that this changes nothing.

    Args:
        args, kwargs: of `optimizer.step`, the optimizer first.

    Returns:
        The same for the call that follows; None if there was no closure.

    Raises:
        RecordingError: `step` has another argument.
    """
    given = dict(zip(("optimizer", "closure"), args, strict=False)) | kwargs
    others = [name for name, value in kwargs.items() if name != "closure" and value is not None]
    if len(args) > 2 or others:
        raise RecordingError(
            "optimizer.step() was given an argument that is not in the recorded equations",
            expected="step() or step(closure)",
            got=", ".join(others) or f"{len(args) - 1} arguments",
            remedy="call step() without it",
        )
    closure: Callable[[], Any] | None = given.get("closure")
    if closure is None:
        return None
    with torch.enable_grad():
        loss = closure()
    return args[:1], {"closure": lambda: loss}
