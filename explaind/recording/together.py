"""Several optimizers of one model, each of its own parameters, which make an update together.

An update begins with the step of the first of them and ends with that of the last; each steps once, in any order, and all take
the gradients that were there at its beginning. Then it is an update of one optimizer whose groups follow different equations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from explaind.errors import RecordingError

__all__ = ["Round", "Together"]


class States:
    """The state of every parameter, in whichever optimizer holds it."""

    def __init__(self, members: Sequence[Optimizer]) -> None:
        self._owners = {id(p): one for one in members for group in one.param_groups for p in group["params"]}

    def _of(self, parameter: Tensor) -> Any:
        owner = self._owners.get(id(parameter))
        return {} if owner is None else owner.state

    def get(self, parameter: Tensor, default: Any = None) -> Any:
        """As of a dictionary."""
        return self._of(parameter).get(parameter, default)

    def __getitem__(self, parameter: Tensor) -> Any:
        return self._of(parameter)[parameter]

    def __setitem__(self, parameter: Tensor, value: Any) -> None:
        self._of(parameter)[parameter] = value


class Together:
    """Looks like one optimizer, as far as a recording reads it.

    Args:
        members: torch's AdamW, Adam and SGD, over different parameters.

    Raises:
        RecordingError: another optimizer, none at all, or a parameter in two of them.
    """

    def __init__(self, members: Sequence[Optimizer]) -> None:
        self.members = tuple(members)
        for member in self.members:
            if type(member) not in (AdamW, Adam, SGD):
                raise RecordingError(
                    f"The optimizer {type(member).__name__} cannot be recorded together with others",
                    expected="several of torch's AdamW, Adam and SGD",
                    remedy="record it alone, or train with these",
                )
        #: The state of every parameter.
        self.state = States(self.members)
        held = [id(p) for group in self.param_groups for p in group["params"]]
        if not held or len(set(held)) < len(held):
            raise RecordingError(
                "A parameter is in several optimizers" if held else "No optimizer was given",
                expected="optimizers of different parameters, which make each update together",
                remedy="record alternating optimizers of the same parameters as separate runs",
            )

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all, one optimizer after the other."""
        return [group for member in self.members for group in member.param_groups]


class Round:
    """Which optimizers have made their step of the present update.

    Args:
        members: all of them.
    """

    def __init__(self, members: Sequence[Optimizer]) -> None:
        self._members = members
        self._began: set[int] = set()
        self._ended: set[int] = set()
        self._gradients: dict[int, tuple[Tensor | None, int]] = {}

    def enter(self, optimizer: Optimizer, step: int) -> bool:
        """One of them begins its step. Returns: is it the first one of the update?

        Raises:
            RecordingError: it has made its step already, or its gradients are not those at the beginning of the update.
        """
        first = not self._began
        if id(optimizer) in self._began:
            raise RecordingError(
                f"An optimizer made a second step in update {step}, before the others had made theirs",
                expected="one step of each optimizer for each update",
                got=f"two of {type(optimizer).__name__}",
                remedy="let all of them step after each backward pass, or record their phases as separate runs",
            )
        self._began.add(id(optimizer))
        if first:
            self._gradients = {
                id(p): (p.grad, -1 if p.grad is None else p.grad._version)
                for member in self._members
                for group in member.param_groups
                for p in group["params"]
            }
            return True
        for group in optimizer.param_groups:
            for p in group["params"]:
                before, version = self._gradients.get(id(p), (p.grad, -1))
                if p.grad is not before or (p.grad is not None and p.grad._version != version):
                    raise RecordingError(
                        f"Gradients changed between the steps of two optimizers in update {step}",
                        expected="the gradients that were there at the first of them",
                        got="a backward pass, a reset or clipping in between",
                        remedy="do these before the first optimizer's step, or record the phases as separate runs",
                    )
        return False

    def leave(self, optimizer: Optimizer) -> bool:
        """One of them ends its step. Returns: was it the last one of the update?"""
        self._ended.add(id(optimizer))
        if len(self._ended) < len(self._members):
            return False
        self._began.clear()
        self._ended.clear()
        self._gradients.clear()
        return True
