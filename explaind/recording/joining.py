"""Which parameters the optimizer holds, with which options; some may join it in the middle of the run (`add_param_group`).

A tensor that is not held yet has a row of options of its own, which is zero until it joins and then that of its group. Its on-off
options are those of the first group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from explaind.errors import RecordingError
from explaind.recording.checks import option_flags
from explaind.recording.together import Together

__all__ = ["Membership", "changed"]


class Membership:
    """The groups of an optimizer, compared from update to update.

    Args:
        optimizer: whose groups.
        later: parameters that may join it.

    Attributes:
        flags: on-off options of the groups at the start.
        held: the parameters that it holds.
    """

    def __init__(self, optimizer: Optimizer | Together, later: Iterable[Tensor]) -> None:
        self._optimizer = optimizer
        self.flags = option_flags(optimizer)
        self.held = self._held_now()
        self._groups = len(optimizer.param_groups)
        ids = {id(parameter) for parameter in self.held}
        self.waiting = [parameter for parameter in later if id(parameter) not in ids]
        self.begin()

    def begin(self) -> None:
        """From now on momentum must not be switched on or off."""
        self._momentum = self._momentum_now()

    def has(self, parameter: Tensor) -> bool:
        """Does the optimizer hold this parameter by now?"""
        if not any(parameter is one for one in self.waiting):
            return True
        return any(parameter is one for group in self._optimizer.param_groups for one in group["params"])

    def check(self) -> None:
        """Compare with the update before.

        Raises:
            RecordingError: parameters left, or joined without being named; an on-off option or momentum changed.
        """
        held = self._held_now()
        added = held[len(self.held) :]
        known = {id(parameter) for parameter in self.waiting}
        if any(a is not b for a, b in zip(held, self.held, strict=False)) or len(held) < len(self.held):
            raise changed("The optimizer's parameters changed", "the parameters it had at the start")
        if any(id(parameter) not in known for parameter in added):
            raise RecordingError(
                "A parameter joined the optimizer during recording that was not announced",
                expected="the parameters it had at the start, and those that record(..., later=...) names",
                got=f"{len(added)} others",
                remedy="record the run again with the names of the parameters that join later in `later`",
            )
        flags = option_flags(self._optimizer)
        if flags[: self._groups] != self.flags or any(f != self.flags[0] for f in flags[self._groups :]):
            raise changed(
                "An on-off option of the optimizer changed, or a group joined with another", str(self.flags)
            )
        momentum = self._momentum_now()
        if momentum[: len(self._momentum)] != self._momentum:
            raise changed("The momentum of a group was switched on or off", "zero or non-zero throughout")
        self.held, self._momentum = held, momentum

    def rows(self, parameters: Sequence[Tensor], groups: Sequence[int]) -> list[Mapping[str, Any]]:
        """Options by row: those of the first groups, then of each tensor that joins; empty before it does.

        Args:
            parameters: the tensors of θ.
            groups: the row of each.
        """
        present = {id(p): group for group in self._optimizer.param_groups for p in group["params"]}
        rows: list[Mapping[str, Any]] = list(self._optimizer.param_groups[: self._groups])
        joining = sorted((g, id(p)) for p, g in zip(parameters, groups, strict=True) if g >= self._groups)
        return rows + [present.get(key, {}) for _, key in joining]

    def _held_now(self) -> list[Tensor]:
        return [parameter for group in self._optimizer.param_groups for parameter in group["params"]]

    def _momentum_now(self) -> list[bool]:
        return [group["momentum"] != 0 for group in self._optimizer.param_groups if "momentum" in group]


def changed(problem: str, expected: str) -> RecordingError:
    """The refusal of a change in the middle of the run."""
    return RecordingError(
        f"{problem} during recording",
        expected=expected,
        got="a change that the recorded updates do not explain",
        remedy="make the change before recording, or record the parts as separate runs",
    )
