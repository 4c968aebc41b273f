"""Gradients of the run's updates at any parameters, as training had them: the same code and kernels, on the run's threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from explaind.features.functional import Forward, FunctionalModel
from explaind.features.gradients import BatchGradient, TrainingGradients
from explaind.features.packing import Packings
from explaind.features.samples import Samples
from explaind.features.targets import Loss
from explaind.recording.trajectory import Trajectory
from explaind.runtime.device import find_device

__all__ = ["RunModel"]


class RunModel:
    """Parameters in the precision, and on the kind of processor, of the run, with the gradients that its optimizer got.

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
        self._run = run
        recorded = run.manifest["replay"]
        self._threads: int = recorded["threads"]
        self._device = find_device(run.device)
        samples = Samples(train, "train")
        packings = Packings([samples.packing])
        pure = FunctionalModel(model, run, run.layout.dtype, self._device, forward, packings=packings)
        self._gradient = BatchGradient(TrainingGradients(run, pure, loss, samples))
        self.parameters = [
            torch.zeros(shape, dtype=run.layout.dtype, device=self._device).requires_grad_()
            for shape in run.layout.shapes
        ]

    def backward(self, s: int) -> None:
        """Leave the gradients of update s in `grad`, at the present parameters, as the optimizer got them.

        Raises:
            QueryError: the model or the loss cannot be evaluated on the batch.
        """
        record, layout = self._run.step(s), self._run.layout
        theta = torch.cat([parameter.detach().reshape(-1) for parameter in self.parameters])
        gradients = layout.unflatten(self._gradient.at_parameters(theta, s, record.batches)).values()
        active = record.active or (True,) * len(self.parameters)
        scales = self._run.clip_scales(s)
        for parameter, given, scale, gradient in zip(self.parameters, active, scales, gradients, strict=True):
            parameter.grad = gradient.clone() if given else None
            if given and scale != 1.0:
                parameter.grad.mul_(float(scale))

    def norms(self) -> list[float]:
        """Lengths of the gradients, tensor by tensor; 0.0 where there is none."""
        gradients: list[Tensor | None] = [parameter.grad for parameter in self.parameters]
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
