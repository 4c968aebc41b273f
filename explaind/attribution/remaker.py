"""Makes the updates between two kept states again: training once more, from the kept state and the recorded batches.

Nothing is computed by formulas of our own. The kept state is given to an optimizer of the recorded class and options, each
update's batch goes through the model, forward and backward, gradients are scaled as they were by clipping, and the optimizer
steps. On the same kind of processor, with the same number of threads, that gives the same bits: a checksum of every θ tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from explaind.attribution.remade import Remade, check_gradient, compare
from explaind.features.frozen import private_copy
from explaind.features.functional import Forward, FunctionalModel
from explaind.features.gradients import TrainingGradients, batch_of
from explaind.features.noise import at_state
from explaind.features.outputs import logits_of
from explaind.features.packing import Packings, call
from explaind.features.samples import Samples
from explaind.features.targets import Loss
from explaind.optimizers import COEFFICIENTS, LINEAR
from explaind.recording.forward_passes import ForwardPass, set_modes, unwrapped
from explaind.recording.kept import place
from explaind.recording.linear import LinearReader
from explaind.recording.remaking import option_values
from explaind.recording.schema import HYPERPARAMETERS
from explaind.recording.state import flat_copy
from explaind.recording.trajectory import StepRecord, Trajectory
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
    """A private copy of the model, and an optimizer like that of the run.

    Args:
        run: recorded with keep="replay".
        model, loss, train, forward: as for `explaind.influence`.

    Raises:
        StoreError, QueryError, DataError: they do not fit the recording.
    """

    def __init__(
        self, run: Trajectory, model: nn.Module, loss: Loss, train: Any, forward: Forward | None
    ) -> None:
        self._run, self._forward = run, forward
        self._options: dict[str, Any] = run.manifest["replay"]
        self._device = torch.device(
            "cuda" if self._options["device"] == "cuda" and torch.cuda.is_available() else "cpu"
        )
        model = unwrapped(model)
        names = run.match_model(model)
        samples = Samples(train, "train")
        self._packings = Packings([samples.packing])
        pure = FunctionalModel(model, run, run.layout.dtype, self._device, forward, packings=self._packings)
        self._gradients = TrainingGradients(run, pure, loss, samples)
        self._module = private_copy(model).requires_grad_(False).to(self._device)
        self._dropout = {
            part: part.dropout for part in self._module.modules() if isinstance(part, nn.RNNBase)
        }
        everything = {**dict(self._module.named_parameters()), **dict(self._module.named_buffers())}
        with torch.no_grad():
            for name, value in run.constants.items():
                everything[names[name]].copy_(value)
        self._parameters = [everything[names[name]].requires_grad_() for name in run.layout.names]
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
            for name in ("parameters", *self._scaling())
        }
        with self._surroundings(), torch.enable_grad():
            self._begin(start)
            other = None  # the first update whose bits are others
            for s in range(start, stop):
                same = self._update(s, {name: rows[s - start] for name, rows in vectors.items()})
                other = s if other is None and not same else other
            report = compare(
                self._run,
                (start, stop),
                other,
                vectors["parameters"][-1],
                [self._optimizer.state[parameter] for parameter in self._parameters],
            )
        for parameter in self._parameters:
            parameter.grad = None
        return Segment(start, vectors, report)

    def _scaling(self) -> tuple[str, ...]:
        """What the optimizer scales gradients by, as the recording calls it."""
        if self._reader is not None:
            return ("preconditioner",)
        return ("second_moment",) if self._run.optimizer in ("Adam", "AdamW") else ()

    def _make_optimizer(self) -> torch.optim.Optimizer:
        groups = [
            {"params": [], **option_values(options, self._recorded(self._run.step(0), index))}
            for index, options in enumerate(self._options["options"])
        ]
        for parameter, group in zip(self._parameters, self._run.layout.group, strict=True):
            groups[group]["params"].append(parameter)
        kind: type[torch.optim.Optimizer] = getattr(torch.optim, self._options["optimizer"])
        return kind(groups)  # type: ignore[call-arg] # options are in the groups

    @staticmethod
    def _recorded(record: StepRecord, group: int) -> dict[str, float]:
        return {name: getattr(record, name)[group] for name in HYPERPARAMETERS}

    def _begin(self, start: int) -> None:
        """Go back to a kept state."""
        theta, (_, state) = self._run.parameters(start), self._run.kept.read(start)
        assert state is not None, "a state between updates holds the optimizer's"
        with torch.no_grad():
            for parameter, value in zip(
                self._parameters, self._run.layout.unflatten(theta).values(), strict=True
            ):
                parameter.copy_(value)
        place(self._optimizer, self._parameters, state)

    def _update(self, s: int, rows: dict[str, Tensor]) -> bool:
        """Make update s, and write what followed into the rows. Are all parameters those of the run, bit for bit?"""
        record = self._run.step(s)
        for index, group in enumerate(self._optimizer.param_groups):
            group |= option_values(self._options["options"][index], self._recorded(record, index))
        self._backward(s, record)
        if self._reader is not None:
            self._reader.before()
        norms = [
            None
            if parameter.grad is None
            else float(torch.linalg.vector_norm(parameter.grad, dtype=torch.float64))
            for parameter in self._parameters
        ]
        self._optimizer.step()
        flat_copy(self._parameters, rows["parameters"])
        if self._reader is not None:
            scalars = np.empty((len(self._optimizer.param_groups), len(COEFFICIENTS)))
            self._reader.after(
                {
                    "preconditioner": rows["preconditioner"].numpy(),
                    "coefficients": scalars,
                    "trust": np.empty(len(self._parameters)),
                }
            )
        elif "second_moment" in rows:
            states = ((p, self._optimizer.state.get(p)) for p in self._parameters)
            flat_copy(
                [state["exp_avg_sq"] if state else torch.zeros_like(p) for p, state in states],
                rows["second_moment"],
            )
        same = crc32c(rows["parameters"].numpy()) == self._run.checksum(s)
        if not same:
            check_gradient(self._run, s, norms)
        return same

    def _backward(self, s: int, record: StepRecord) -> None:
        """The gradients of update s as the optimizer got them, in `grad`."""
        for parameter in self._parameters:
            parameter.grad = None
        for batch in record.batches:
            x, y = self._gradients.train.seen(batch.indices, batch.views)
            given = self._packings.unpack(x, self._run.layout.dtype)
            with batch_of(s):
                with self._as_recorded(batch.forward):
                    outputs = (
                        call(self._module, given)
                        if self._forward is None
                        else self._forward(self._module, given)
                    )
                    loss = self._gradients.batch_loss(batch, logits_of(outputs), y, own=True)
                with self._autocast(batch.forward, backward=True):
                    loss.backward()
        active = record.active or (True,) * len(self._parameters)
        for parameter, given, scale in zip(self._parameters, active, self._run.clip_scales(s), strict=True):
            if not given:
                parameter.grad = None
            elif parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            elif scale != 1.0:
                parameter.grad.mul_(float(scale))

    @contextmanager
    def _as_recorded(self, forward: ForwardPass | None) -> Iterator[None]:
        """The modes, the generator's state and the autocast of a forward pass."""
        for part, dropout in self._dropout.items():
            part.dropout = 0.0 if forward is None else dropout
        with ExitStack() as stack:
            if forward is None:
                self._module.eval()
                for part in self._dropout:  # cuDNN has no backward pass for them otherwise
                    part.train()
            else:
                set_modes(self._module, forward.mode)
                if forward.generator is not None:
                    stack.enter_context(at_state(forward.mode.device, forward.generator))
                stack.enter_context(self._autocast(forward))
            yield

    def _autocast(
        self, forward: ForwardPass | None, *, backward: bool = False
    ) -> torch.autocast | nullcontext[None]:
        """That of the forward pass, or of its backward pass."""
        mode = None if forward is None else forward.mode
        if mode is None or mode.autocast is None or (backward and not mode.backward):
            return nullcontext()
        return torch.autocast(self._device.type, getattr(torch, mode.autocast))

    @contextmanager
    def _surroundings(self) -> Iterator[None]:
        """The run's number of threads, on which sums depend; new tensors on its device."""
        before = torch.get_num_threads()
        torch.set_num_threads(self._options["threads"])
        try:
            # Elsewhere a GPU may be where new tensors go; without one there is nothing to say.
            with self._device if torch.cuda.is_available() else nullcontext():
                yield
        finally:
            torch.set_num_threads(before)
