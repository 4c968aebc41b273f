"""What a small recording needs of every update so that it can be made again: the optimizer's options, and the exact factor of
clipping.

Norms say by what a gradient was clipped up to rounding. To make the same numbers again takes the factor itself, so the gradient
is copied after backward and compared with the one that the optimizer gets. What is no factor is refused there and then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from explaind.errors import ConfigError, RecordingError
from explaind.recording.gradients import GradientWatch
from explaind.recording.schema import HYPERPARAMETERS

KEEP = ("all", "replay")
SLACK = 16  # units of rounding by which a gradient may differ from a multiple of the one before


class Remaking:
    """Watches one optimizer for a recording with keep="replay".

    Args:
        optimizer: that trains.
        every: k, updates between two kept states.

    Raises:
        ConfigError: k is not a whole number ≥ 1.
        RecordingError: the optimizer cannot be made again from its class and options.
    """

    def __init__(self, optimizer: Any, every: int) -> None:
        if not isinstance(every, int) or isinstance(every, bool) or every < 1:
            raise ConfigError(
                "The number of updates between two kept states is not usable.",
                expected="every= a whole number ≥ 1",
                got=repr(every),
            )
        kind = type(optimizer)
        if getattr(torch.optim, kind.__name__, None) is not kind:
            raise RecordingError(
                f'The optimizer {kind.__name__} cannot be recorded with keep="replay"',
                expected="an optimizer of torch.optim, which is there to make the updates again",
                got=f"{kind.__module__}.{kind.__qualname__}",
                remedy='record with keep="all"',
            )
        self.every = every
        self._optimizer = optimizer
        self._options = self._present()
        for index, group in enumerate(self._options):
            for name, value in group.items():
                if not _is_plain(value):
                    raise RecordingError(
                        f'The option {name} of parameter group {index} cannot be recorded with keep="replay"',
                        expected="a number, a truth value or None",
                        got=type(value).__name__,
                        remedy=f'pass {name} as a Python number, or record with keep="all"',
                    )

    def describe(self) -> dict[str, Any]:
        """What the manifest says: with what updates are made again."""
        return {
            "every": self.every,
            "optimizer": type(self._optimizer).__name__,
            "options": self._options,
            "threads": torch.get_num_threads(),
        }

    def check_options(self, step: int) -> None:
        """Refuse a change of an option that is not recorded at every update.

        Raises:
            RecordingError: naming it.
        """
        if len(self._present()) != len(self._options):
            raise RecordingError(
                f'A parameter group joined the optimizer before update {step}, which keep="replay" does not record',
                expected=f"{len(self._options)} groups",
                got=str(len(self._present())),
                remedy='record with keep="all"',
            )
        for index, (now, then) in enumerate(zip(self._present(), self._options, strict=True)):
            for name, value in then.items():
                if now[name] != value and not (_scheduled(name) and _is_plain(now[name])):
                    raise RecordingError(
                        f'The option {name} of parameter group {index} changed before update {step}, which keep="replay" '
                        "does not record",
                        expected=repr(value),
                        got=repr(now[name]),
                        remedy='leave it as it is, or record with keep="all"',
                    )

    def factors(self, step: int, watch: GradientWatch, parameters: Sequence[Tensor]) -> np.ndarray:
        """What each tensor's gradient was multiplied with between backward and the update, float64 [tensors].

        Raises:
            RecordingError: a gradient is no multiple of what backward left.
        """
        found, guess = np.ones(len(parameters)), 1.0
        for index, parameter in enumerate(parameters):
            before, after = watch.raw(parameter), parameter.grad
            if after is not None and after.layout != torch.strided:
                raise RecordingError(
                    'Sparse gradients cannot be recorded with keep="replay"',
                    expected="dense gradients",
                    got=str(after.layout),
                    remedy='record with keep="all", or build the embedding with sparse=False',
                )
            if before is None or after is None or torch.equal(before, after):
                continue
            factor = _factor(before, after, guess)
            if factor is None:
                raise RecordingError(
                    f"The gradients of update {step} were changed other than by one factor for each tensor, so "
                    'keep="replay" cannot make the update again',
                    expected="gradients as backward left them, or multiplied with a number (clip_grad_norm_)",
                    got=f"tensor {index} with another direction (clip_grad_value_, noise, an edited gradient)",
                    remedy='record with keep="all", or clip by norm',
                )
            found[index] = guess = factor
        return found

    def _present(self) -> list[dict[str, Any]]:
        return [
            {name: value for name, value in group.items() if name in self._optimizer.defaults}
            for group in self._optimizer.param_groups
        ]


def make_remaking(keep: str, every: int, optimizer: Any) -> Remaking | None:
    """None for keep="all".

    Raises:
        ConfigError: `keep` is unknown, or see `Remaking`.
        RecordingError: see `Remaking`.
    """
    if keep not in KEEP:
        raise ConfigError(
            "keep states what a recording holds.", expected=" or ".join(map(repr, KEEP)), got=repr(keep)
        )
    return Remaking(optimizer, every) if keep == "replay" else None


def option_values(options: dict[str, Any], recorded: dict[str, float]) -> dict[str, Any]:
    """The options of a group at one update: those that every update records as recorded, the others as they were at the start.

    Args:
        options: of the group, from the manifest.
        recorded: by name, out of `HYPERPARAMETERS`.
    """
    values = {
        name: recorded[name] if name in recorded and _is_number(value) else value
        for name, value in options.items()
    }
    if "betas" in values:
        rest = tuple(values["betas"])[2:]
        values["betas"] = (recorded["beta1"], recorded["beta2"], *rest)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _scheduled(name: str) -> bool:
    return name in HYPERPARAMETERS or name == "betas"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(part) for part in value)
    return value is None or type(value) in (bool, int, float, str) or isinstance(value, np.float64)


def _factor(before: Tensor, after: Tensor, guess: float) -> float | None:
    """c with after = c · before, in their own precision where there is one; None if nothing comes near."""
    if torch.equal(before * guess, after):
        return guess
    largest = int(before.abs().argmax())
    first, second = float(before.reshape(-1)[largest]), float(after.reshape(-1)[largest])
    if not np.isfinite(first) or not np.isfinite(second):
        return 1.0  # the parameters will not be finite either, which is said after the update
    if first == 0:
        return None
    kind = np.float32 if before.dtype == torch.float32 else np.float64
    near = kind(second / first)
    below = above = near
    candidates = [near]
    for _ in range(3):  # one rounded product determines its factor to within an ulp or two
        below, above = np.nextafter(below, kind(-np.inf)), np.nextafter(above, kind(np.inf))
        candidates += [below, above]
    for candidate in candidates:
        if torch.equal(before * float(candidate), after):
            return float(candidate)
    # A division, for one, is not a product to the last bit; the update is then made again up to rounding.
    off = float(torch.linalg.vector_norm((before * float(near) - after).double()))
    limit = SLACK * torch.finfo(before.dtype).eps * float(torch.linalg.vector_norm(after.double()))
    return float(near) if off <= limit else None
