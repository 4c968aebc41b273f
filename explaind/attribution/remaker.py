"""Makes the updates between two kept states again: training once more, from the kept state and the recorded batches.

Nothing is computed by formulas of our own. The kept state is given to an optimizer of the recorded class and options, each
update's batch goes through the model, forward and backward, gradients are scaled as they were by clipping, and the optimizer
steps. On the same kind of processor, with the same number of threads, that gives the same bits: a checksum of every θ tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from explaind.attribution.remade import Remade, check_gradient, compare
from explaind.attribution.run_model import RunModel
from explaind.features.functional import Forward
from explaind.features.targets import Loss
from explaind.optimizers import COEFFICIENTS, LINEAR
from explaind.recording.kept import place
from explaind.recording.linear import LinearReader
from explaind.recording.remaking import option_values
from explaind.recording.schema import HYPERPARAMETERS
from explaind.recording.state import flat_copy
from explaind.recording.trajectory import Trajectory
from explaind.store import crc32c

__all__ = ["Remaker", "Segment"]


@dataclass(frozen=True)
class Segment:
    """The updates from one kept state to the next, made again.

    Attributes:
        start: the first of n updates.
        vectors: by the name of the array that the recording does not hold, [n, D] on the CPU.
        report: how far from the recording they are.
    """

    start: int
    vectors: dict[str, Tensor]
    report: Remade


class Remaker:
    """The run's model, and an optimizer like the run's.

    Args:
        run: recorded with keep="replay".
        model, loss, train, forward: as for `explaind.influence`.

    Raises:
        StoreError, QueryError, DataError: they do not fit the recording.
    """

    def __init__(
        self, run: Trajectory, model: nn.Module, loss: Loss, train: Any, forward: Forward | None
    ) -> None:
        self._run = run
        self._model = RunModel(run, model, loss, train, forward)
        self._parameters = self._model.parameters
        self._options: list[dict[str, Any]] = run.manifest["replay"]["options"]
        self._optimizer = self._make_optimizer()
        rule = LINEAR.get(run.optimizer)
        self._reader = (
            None if rule is None else LinearReader(rule, self._optimizer, self._parameters, run.layout)
        )

    def make(self, start: int, stop: int) -> Segment:
        """Make the updates start … stop − 1 again and compare the result with the state that was kept after them.

        Raises:
            LedgerError: they do not lead there.
            StoreError: a kept state is damaged.
            QueryError: the model or the loss cannot be evaluated on a batch.
        """
        vectors = {
            name: torch.empty(stop - start, self._run.layout.size, dtype=self._run.layout.dtype)
            for name in self.vectors
        }
        with self._model.surroundings():
            self._begin(start)
            other = None  # the first update whose bits are others
            for s in range(start, stop):
                same = self._update(s, {name: rows[s - start] for name, rows in vectors.items()})
                other = s if other is None and not same else other
        states = [self._optimizer.state[parameter] for parameter in self._parameters]
        report = compare(self._run, start, other, vectors["parameters"], states)
        self._model.clear()
        return Segment(start, vectors, report)

    @property
    def vectors(self) -> tuple[str, ...]:
        """What is made again of an update, as the recording calls it: θ, and what the optimizer scales gradients by."""
        if self._reader is not None:
            return ("parameters", "preconditioner")
        adam = self._run.optimizer in ("Adam", "AdamW")
        return ("parameters", "second_moment") if adam else ("parameters",)

    def _make_optimizer(self) -> torch.optim.Optimizer:
        groups: list[dict[str, Any]] = [{"params": [], **options} for options in self._options_at(0)]
        for parameter, group in zip(self._parameters, self._run.layout.group, strict=True):
            groups[group]["params"].append(parameter)
        kind: type[torch.optim.Optimizer] = getattr(torch.optim, self._run.manifest["replay"]["optimizer"])
        return kind(groups)  # type: ignore[call-arg] # options are in the groups

    def _options_at(self, s: int) -> list[dict[str, Any]]:
        """The options of each group at update s."""
        record = self._run.step(s)
        return [
            option_values(options, {name: getattr(record, name)[index] for name in HYPERPARAMETERS})
            for index, options in enumerate(self._options)
        ]

    def _begin(self, start: int) -> None:
        """Go back to a kept state."""
        theta, (_, state) = self._run.parameters(start), self._run.kept.read(start)
        assert state is not None, "a state between updates holds the optimizer's"
        named = self._run.layout.unflatten(theta)
        with torch.no_grad():
            for parameter, value in zip(self._parameters, named.values(), strict=True):
                parameter.copy_(value)
        place(self._optimizer, self._parameters, state)

    def _update(self, s: int, rows: dict[str, Tensor]) -> bool:
        """Make update s, and write what followed into the rows. Are all parameters those of the run, bit for bit?"""
        for group, options in zip(self._optimizer.param_groups, self._options_at(s), strict=True):
            group |= options
        self._model.backward(s)
        if self._reader is not None:
            self._reader.before()
        norms = self._model.norms()  # before the step, which may change gradients in place
        self._optimizer.step()
        flat_copy(self._parameters, rows["parameters"])
        self._read_scaling(rows)
        same = crc32c(rows["parameters"].numpy()) == self._run.checksum(s)
        if not same:
            check_gradient(self._run, s, norms)
        return same

    def _read_scaling(self, rows: dict[str, Tensor]) -> None:
        if self._reader is not None:
            groups, tensors = len(self._options), len(self._parameters)
            scalars = {"coefficients": np.empty((groups, len(COEFFICIENTS))), "trust": np.empty(tensors)}
            self._reader.after({**scalars, "preconditioner": rows["preconditioner"].numpy()})
        elif "second_moment" in rows:
            states = [self._optimizer.state.get(parameter) for parameter in self._parameters]
            moments = [
                state["exp_avg_sq"] if state else torch.zeros_like(parameter)
                for parameter, state in zip(self._parameters, states, strict=True)
            ]
            flat_copy(moments, rows["second_moment"])
