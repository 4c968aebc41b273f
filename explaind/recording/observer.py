"""The hooks' view of one optimizer: what an update starts from, what it leads to, and what makes it unrecordable.

The hooks only read. What happens to gradients and to the optimizer's state between two updates is watched in `gradients` and
`state_watch`; θ, the options and the second moment are copied out before or after the update.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from explaind.errors import RecordingError, TrainingError
from explaind.optimizers import LINEAR
from explaind.recording import checks
from explaind.recording.forward_passes import ForwardPass, ForwardWatch
from explaind.recording.gradients import GradientWatch, dense
from explaind.recording.joining import Membership, changed
from explaind.recording.later import find_later
from explaind.recording.layout import Layout
from explaind.recording.linear import LinearReader, steps_made
from explaind.recording.modules import module_checks, random_modules
from explaind.recording.state import flat_copy
from explaind.recording.state_watch import StateWatch
from explaind.recording.statistics import RunningStatistics
from explaind.recording.together import Together


class Observer:
    """Reads a model and its optimizer around each update.

    Args:
        model: the model that is trained.
        optimizer: its optimizer, or several; refused here if its updates cannot be recorded.
        on_reset: see `GradientWatch`.
        later: names or patterns of parameters that get their first gradient later.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Together,
        on_reset: Callable[[int], None] = lambda passes: None,
        later: str | Iterable[str] = (),
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.names = checks.group_names(optimizer)
        self.name = " and ".join(dict.fromkeys(self.names))
        self.rule = LINEAR.get(self.name)
        self.later = find_later(model, later)
        self._members = Membership(optimizer, self.later.values())
        self.flags = self._members.flags
        if isinstance(optimizer, Together) and self._members.waiting:
            checks.refuse(
                "Parameters that join one of several optimizers later cannot be recorded",
                "optimizers that hold all of their parameters from the start",
                f"{len(self._members.waiting)} parameters that none holds",
                "add them before recording, frozen until they are used",
            )
        checks.check_parameters(model.named_parameters(), optimizer, self.later)
        self._module_checks = module_checks(model, replayed=True)
        self._random = random_modules(model)
        self.statistics = RunningStatistics(model)
        self.forward = ForwardWatch(model)
        self.check_modules()
        self.gradients = GradientWatch(on_reset, self._members.has)
        self._layout: Layout | None = None

    def attach(self) -> None:
        """Register the hooks on gradients."""
        self._versions = self._versions_now()
        self.gradients.attach([*self.held, *self._members.waiting])
        self.forward.attach()

    def detach(self) -> None:
        """Remove all hooks."""
        self.gradients.detach()
        self.forward.detach()

    def follow(self, layout: Layout) -> None:
        """Fix which parameters are θ; any later deviation is an error."""
        named = dict(self.model.named_parameters())
        self.layout = self._layout = layout
        self.moved: Sequence[Tensor] = [named[name] for name in layout.names]
        self._moved_ids = {id(parameter) for parameter in self.moved}
        self._last: list[Tensor] | None = None
        self._state = StateWatch(self.optimizer, self.moved)
        self._reader = LinearReader(self.rule, self.optimizer, self.moved, layout) if self.rule else None
        self._members.begin()

    @property
    def held(self) -> list[Tensor]:
        """The parameters that the optimizer holds."""
        return self._members.held

    def option_rows(self) -> list[Mapping[str, Any]]:
        """The options of the coming update, by row of the recorded ones."""
        return self._members.rows(self.moved, self.layout.group)

    def has_gradient(self) -> bool:
        """Does any parameter hold a gradient that is not zero?"""
        return any(p.grad is not None and bool(dense(p.grad).any()) for p in self.held)

    def with_gradient(self) -> set[int]:
        """Ids of the parameters that the coming update will move.

        Raises:
            RecordingError: one of them is sparse, or has a gradient although it requires none.
        """
        ids = set()
        for parameter in self.held:
            if parameter.grad is None:
                continue
            if parameter.grad.layout != torch.strided and self.name != "SGD":
                checks.refuse(
                    f"Parameter {self._name_of(parameter)} has a sparse gradient",
                    "dense gradients",
                    str(parameter.grad.layout),
                    "build the embedding with sparse=False, or train with SGD",
                )
            if not parameter.requires_grad:
                checks.refuse(
                    f"Parameter {self._name_of(parameter)} requires no gradient but still has one",
                    "grad None",
                    "a left-over gradient, which the optimizer would apply",
                    "set its grad to None",
                )
            ids.add(id(parameter))
        return ids

    def before_update(self, step: int) -> np.ndarray:
        """Check that update `step` is like the others. `inside` and `cut` then say what was clipped entry by entry, `reset`
        which tensors of θ begin again without a history.

        Returns:
            norms of each parameter's gradient after backward and as the optimizer gets it, float64 [2, tensors].

        Raises:
            RecordingError: naming what changed since the recording began.
        """
        self.check_modules()
        self._members.check()
        if new := self.with_gradient() - self._moved_ids:
            odd = next(p for p in self.held if id(p) in new)
            raise RecordingError(
                f"Parameter {self._name_of(odd)} received its first gradient after the recording had begun",
                expected="a gradient in the first update, or its name in record(..., later=...)",
                got=f"the first one in update {step}",
                remedy="record the run again with the parameters that are unfrozen, used or added later named in `later`",
            )
        resting = [parameter for parameter in self.moved if parameter.grad is None]
        if self.rule is not None and (resting or self.later):
            odd = self._name_of(resting[0]) if resting else next(iter(self.later))
            raise RecordingError(
                f"Parameter {odd} has a gradient in some updates only, which of {self.name} cannot be recorded",
                expected="a gradient in every update, or in none",
                got=f"none in update {step}",
                remedy="train with AdamW, Adam or SGD, or record the parts as separate runs",
            )
        if self.gradients.stale:
            checks.refuse(
                f"The gradients of update {step} contain those of the update before it",
                "gradients that are reset after every update",
                "a backward pass on top of gradients that the optimizer had already taken",
                "call optimizer.zero_grad() between optimizer.step() and the next backward()",
            )
        if self.has_moved():
            raise changed("Parameters were changed between two updates", "θ exactly as the optimizer left it")
        self.reset = self._state.check(step, resets=self.rule is None)
        self._given = self._present_options()
        if self._reader is not None:
            self._reader.before()
        norms = self.gradients.norms(self.moved)
        self.inside, self.cut = self.gradients.cut(self.moved, norms)
        return norms

    def has_moved(self) -> bool:
        """Are the parameters not what the last recorded update left? Before the first one: were they edited since the start?"""
        if self._layout is None:
            return self._versions_now() != self._versions
        if self._last is None:
            return False
        return not all(
            torch.equal(parameter.detach().to(last.device), last)
            for parameter, last in zip(self.moved, self._last, strict=True)
        )

    def after_update(self, step: int, row: Tensor, second_moment: Tensor | None) -> None:
        """Copy θ_{s+1} [D], and v_{s+1} [D] if there is a row for it.

        Raises:
            TrainingError: a parameter is no longer finite.
            RecordingError: an option was changed after it had been read.
        """
        if self._present_options() != self._given:
            raise changed(
                "An option of the optimizer changed while it made its update",
                "options set before optimizer.step()",
            )
        self.gradients.used()
        self._state.note()
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
        self._last = list(self.layout.unflatten(row).values())
        if second_moment is not None:
            states = ((p, self.optimizer.state.get(p)) for p in self.moved)
            flat_copy(
                [
                    state["exp_avg_sq"] if state and "exp_avg_sq" in state else torch.zeros_like(p)
                    for p, state in states
                ],
                second_moment,
            )

    def read_rule(self, rows: Mapping[str, np.ndarray]) -> None:
        """Write what the optimizer's rule records of the update that was just made into the row of each array."""
        if self._reader is not None:
            self._reader.after(rows)

    @property
    def counts(self) -> bool:
        """Does the optimizer count its updates?"""
        if self.rule is None:
            return any(name != "SGD" for name in self.names)
        groups = self.optimizer.param_groups
        return any(
            steps_made(self.optimizer.state.get(parameter, {}), groups[group]) is not None
            for parameter, group in zip(self.moved, self.layout.group, strict=True)
        )

    def keep_last(self) -> None:
        """Copy θ_{s+1} before its row is passed to the writer."""
        if self._last is not None:
            self._last = [last.clone() for last in self._last]

    def check_modules(self) -> None:
        """Refuse batch-dependent modules that are active."""
        for check in self._module_checks:
            check()

    def forward_passes(self, step: int, batches: int) -> list[ForwardPass | None]:
        """How the forward pass of each micro-batch of the coming update ran; see `ForwardWatch.take`."""
        labels = (self.statistics.active, *self._random)
        return self.forward.take(
            step,
            batches,
            lambda: next((active for label in labels if (active := label())), None),
            backward=self.gradients.autocast,
        )

    def check_end(self, step: int) -> None:
        """At the end of training the model must be where the last recorded update left it.

        Raises:
            RecordingError: it is not.
        """
        if self.has_moved():
            checks.refuse(
                f"The model is not where the {step} recorded updates left it",
                f"θ_{step} as recorded" if step else "parameters as they were when the recording began",
                "other parameters",
                "let the optimizer that was given to record() make every update, not one made inside the block, and change "
                "parameters only after the block; what was recorded stays readable up to its last update",
            )

    def check_constants(self, constants: dict[str, Tensor]) -> None:
        """Refuse constants (frozen parameters, buffers) that differ from what was recorded at the start."""
        present = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        moving = self.statistics.present()
        for name, value in constants.items():
            if name in moving:
                continue
            if name not in present or not torch.equal(present[name].detach().cpu(), value):
                raise changed(f"'{name}' changed although the optimizer does not move it", "a constant")

    def _versions_now(self) -> list[int]:
        return [parameter._version for parameter in self.held]

    def _present_options(self) -> list[dict[str, Any]]:
        return [
            {name: value for name, value in group.items() if name not in ("params", "step")}
            for group in self.optimizer.param_groups
        ]

    def _name_of(self, parameter: Tensor) -> str:
        return next(name for name, value in self.model.named_parameters() if value is parameter)
