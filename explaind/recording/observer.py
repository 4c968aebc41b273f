"""The hooks' view of one optimizer: what an update starts from, what it leads to, and what makes it unrecordable.

The hooks only read. Gradient norms are taken right after backward and again when the optimizer starts, which shows
how gradients were scaled in between; everything else is copied out before or after the update.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from explaind.errors import RecordingError, TrainingError
from explaind.recording import checks
from explaind.recording.layout import Layout
from explaind.recording.state import clip_factor, flat_copy, gradient_norm


class Observer:
    """Reads a model and its optimizer around each update.

    Args:
        model: the model that is trained.
        optimizer: its optimizer; refused here if its updates cannot be recorded.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self.model = model
        self.optimizer = optimizer
        self.name = checks.optimizer_name(optimizer)
        self.flags = checks.option_flags(optimizer)
        checks.check_parameters(model.named_parameters(), optimizer)
        self._module_checks = checks.module_checks(model)
        self.check_modules()
        self.held = self._held_now()
        self._norms: dict[int, Tensor] = {}
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def attach(self) -> None:
        """Listen to the gradients."""
        for parameter in self.held:
            if parameter.requires_grad:
                self._handles.append(parameter.register_post_accumulate_grad_hook(self._after_backward))

    def detach(self) -> None:
        """Leave model and optimizer as they were."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def follow(self, layout: Layout) -> None:
        """Fix which parameters are θ; from now on any deviation is an error."""
        named = dict(self.model.named_parameters())
        self.layout = layout
        self.moved: Sequence[Tensor] = [named[name] for name in layout.names]
        self._moved_ids = {id(parameter) for parameter in self.moved}
        self._last: Tensor | None = None
        self._now = torch.empty(layout.size, dtype=layout.dtype)
        self._active = [
            group["momentum"] != 0 for group in self.optimizer.param_groups if "momentum" in group
        ]

    def with_gradient(self) -> set[int]:
        """Ids of the parameters that the coming update will move.

        Raises:
            RecordingError: one of them is sparse, or has a gradient although it requires none.
        """
        found = set()
        for parameter in self.held:
            if parameter.grad is None:
                continue
            if parameter.grad.layout != torch.strided:
                checks.refuse(
                    f"Parameter {self._name_of(parameter)} has a sparse gradient",
                    "dense gradients",
                    str(parameter.grad.layout),
                    "build the embedding with sparse=False",
                )
            if not parameter.requires_grad:
                checks.refuse(
                    f"Parameter {self._name_of(parameter)} requires no gradient but still has one",
                    "grad None",
                    "a left-over gradient, which the optimizer would apply",
                    "set its grad to None",
                )
            found.add(id(parameter))
        return found

    def before_update(self) -> tuple[float, bool]:
        """Check that this update is like the others and return (clip factor, clip uniform).

        Raises:
            RecordingError: naming what changed since the recording began.
        """
        self.check_modules()
        held = self._held_now()
        if len(held) != len(self.held) or any(a is not b for a, b in zip(held, self.held, strict=True)):
            raise _changed("The optimizer's parameters changed", "the parameters it had at the start")
        if checks.option_flags(self.optimizer) != self.flags:
            raise _changed("An on-off option of the optimizer changed", str(self.flags))
        groups = self.optimizer.param_groups
        if [group["momentum"] != 0 for group in groups if "momentum" in group] != self._active:
            raise _changed("The momentum of a group was switched on or off", "zero or non-zero throughout")
        if different := self.with_gradient() ^ self._moved_ids:
            odd = next(p for p in self.held if id(p) in different)
            now = "has none now" if id(odd) in self._moved_ids else "has one now"
            raise _changed(
                f"Parameter {self._name_of(odd)} received a gradient in some updates only (it {now})",
                "a gradient in every update, or in none",
            )
        if self._last is not None:
            flat_copy(self.moved, self._now)
            if not torch.equal(self._now, self._last):
                raise _changed(
                    "Parameters were changed between two updates", "θ exactly as the optimizer left it"
                )
        zero = torch.zeros((), dtype=torch.float64)
        before = [self._norms.get(id(parameter), zero) for parameter in self.moved]
        after = [gradient_norm(parameter.grad) for parameter in self.moved]
        self._norms.clear()
        return clip_factor(_numbers(before), _numbers(after), self.layout.dtype, self.layout.size)

    def after_update(self, step: int, row: Tensor, second_moment: Tensor | None) -> None:
        """Copy θ_{s+1} [D], and v_{s+1} [D] if there is a row for it.

        Raises:
            TrainingError: a parameter is no longer finite.
        """
        flat_copy(self.moved, row)
        # One sum is enough to notice; only then is it worth looking closer (a sum may overflow by itself).
        if not torch.isfinite(row.sum()) and not torch.isfinite(row).all():
            parts = self.layout.unflatten(row)
            bad = next(name for name, part in parts.items() if not torch.isfinite(part).all())
            raise TrainingError(
                f"Parameter {bad} is no longer finite after update {step}",
                expected="finite numbers",
                got="NaN or infinity",
                remedy="lower the learning rate or clip gradients; the store holds the updates before this one",
            )
        self._last = row
        if second_moment is not None:
            flat_copy(
                [self.optimizer.state[parameter]["exp_avg_sq"] for parameter in self.moved], second_moment
            )

    def keep_last(self) -> None:
        """Copy θ_{s+1} before its row is handed to the writer."""
        if self._last is not None:
            self._last = self._last.clone()

    def check_modules(self) -> None:
        """Refuse random or batch-dependent modules that are active."""
        for check in self._module_checks:
            check()

    def check_constants(self, constants: dict[str, Tensor]) -> None:
        """Refuse floating constants (frozen parameters, buffers) that differ from what was recorded at the start."""
        present = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        for name, value in constants.items():
            if value.is_floating_point() and not torch.equal(present[name].detach().cpu(), value):
                raise _changed(f"'{name}' changed although the optimizer does not move it", "a constant")

    def _after_backward(self, parameter: Tensor) -> None:
        if parameter.grad is not None and parameter.grad.layout == torch.strided:
            self._norms[id(parameter)] = gradient_norm(parameter.grad.detach())

    def _held_now(self) -> list[Tensor]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _name_of(self, parameter: Tensor) -> str:
        return next(name for name, value in self.model.named_parameters() if value is parameter)


def _numbers(norms: list[Tensor]) -> np.ndarray:
    return torch.stack([norm.to(norms[0].device) for norm in norms]).cpu().numpy() if norms else np.empty(0)


def _changed(problem: str, expected: str) -> RecordingError:
    return RecordingError(
        f"{problem} during recording",
        expected=expected,
        got="a change that the recorded updates do not explain",
        remedy="make the change before recording, or record the parts as separate runs",
    )
