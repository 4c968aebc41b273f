"""The recorded model as it was trained, to make gradients with: the same code and kernels, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from explaind.features.frozen import private_copy, unwrapped
from explaind.features.functional import Forward, FunctionalModel
from explaind.features.gradients import TrainingGradients, batch_of
from explaind.features.samples import Samples
from explaind.features.targets import Loss, fit
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
        pure = FunctionalModel(model, run, run.layout.dtype, self._device, forward)
        self._gradients = TrainingGradients(run, pure, fit(loss, pure), Samples(train, "train"))
        self._module = _training(private_copy(model).eval().requires_grad_(False).to(self._device))
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
            with batch_of(s):
                outputs = self._module(x) if self._forward is None else self._forward(self._module, x)
                self._gradients.loss_of(batch, outputs, y).backward()
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


def _training(module: nn.Module) -> nn.Module:
    """Recurrent layers in training mode, without dropout: cuDNN has no backward pass for them otherwise."""
    for part in module.modules():
        if isinstance(part, nn.RNNBase):
            part.dropout = 0.0
            part.train()
    return module
