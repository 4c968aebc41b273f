"""The recorded model as it was trained, to make gradients with: the same code and kernels, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from explaind.features.frozen import private_copy
from explaind.features.functional import Forward, FunctionalModel
from explaind.features.gradients import TrainingGradients, batch_of
from explaind.features.noise import at_state
from explaind.features.outputs import logits_of
from explaind.features.packing import Packings, call
from explaind.features.samples import Samples
from explaind.features.targets import Loss
from explaind.recording.forward_passes import ForwardPass, set_modes, unwrapped
from explaind.recording.trajectory import Trajectory

__all__ = ["RunModel"]


class RunModel:
    """A private copy of the model in the precision, and on the kind of processor, of the run.

    `FunctionalModel` is the same function, made of operations that can be differentiated in every way: it rounds otherwise.

    Args:
        run: recorded with keep="replay".
        model, loss, train, forward: as for `explaind.influence`.

    Attributes:
        parameters: θ by tensor, in the layout's order.

    Raises:
        StoreError, QueryError, DataError: they do not fit the recording.
    """

    def __init__(
        self, run: Trajectory, model: nn.Module, loss: Loss, train: Any, forward: Forward | None
    ) -> None:
        self._run, self._forward = run, forward
        recorded = run.manifest["replay"]
        self._threads: int = recorded["threads"]
        self._device = torch.device(
            "cuda" if recorded["device"] == "cuda" and torch.cuda.is_available() else "cpu"
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
        self.parameters = [everything[names[name]].requires_grad_() for name in run.layout.names]

    def backward(self, s: int) -> None:
        """Leave the gradients of update s in `grad`, at the present parameters, as the optimizer got them.

        Raises:
            QueryError: the model or the loss cannot be evaluated on the batch.
        """
        self.clear()
        record = self._run.step(s)
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
        active = record.active or (True,) * len(self.parameters)
        for parameter, given, scale in zip(self.parameters, active, self._run.clip_scales(s), strict=True):
            if not given:
                parameter.grad = None
            elif parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            elif scale != 1.0:
                parameter.grad.mul_(float(scale))

    def norms(self) -> list[float]:
        """Lengths of the gradients, tensor by tensor; 0.0 where there is none."""
        gradients = (parameter.grad for parameter in self.parameters)
        return [
            0.0 if gradient is None else float(torch.linalg.vector_norm(gradient, dtype=torch.float64))
            for gradient in gradients
        ]

    def clear(self) -> None:
        """Free the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

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
    def surroundings(self) -> Iterator[None]:
        """Gradients on; the run's number of threads, on which sums depend; new tensors on its device."""
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            # Elsewhere a GPU may be where new tensors go; without one there is nothing to say.
            with torch.enable_grad(), self._device if torch.cuda.is_available() else nullcontext():
                yield
        finally:
            torch.set_num_threads(before)
