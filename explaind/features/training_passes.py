"""The model as training evaluated it: forward passes that drew random numbers, or ran under autocast, made again.

A random pass is run once more over its whole batch, from the generator's recorded state and in the run's own precision. What it
drew is an input of each sample from then on (`explaind.features.noise`). A pass under autocast is evaluated under autocast, with
parameters and inputs in the run's precision: its gradients are those of training, rounded as they were.

Shapes: n samples, O outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor
from torch.func import grad, vmap

from explaind.errors import QueryError
from explaind.features.batched import Batched
from explaind.features.functional import FunctionalModel
from explaind.features.noise import Axis, Drawn, Given, at_state, by_sample, of_batch, sample_axes
from explaind.recording.forward_passes import ForwardPass, Mode
from explaind.recording.steps import MicroBatch

Parameters = Mapping[str, Tensor]


class TrainingPass:
    """The model in one mode of the run's training.

    Args:
        model: in evaluation mode, in the precision of the computation.
        mode: of the forward pass; None for one that evaluation mode gives too.

    Attributes:
        rounded: was the forward pass rounded to half precision?
        mixes: were the samples of a batch normalised together?
    """

    def __init__(self, model: FunctionalModel, mode: Mode | None) -> None:
        self._mode, self._dtype = mode, model.dtype
        self._autocast = None if mode is None or mode.autocast is None else getattr(torch, mode.autocast)
        self.rounded = self._autocast is not None
        self._trained = model.as_trained(mode)
        self.mixes = self._trained.mixes
        self._model = self._own = model
        if mode is not None:
            own = model.layout.dtype
            self._own = model.converted(own, mode)  # random operations of fused layers could not be met
            same = self.rounded or own == model.dtype
            self._model = self._own if same else model.converted(model.dtype, mode)
        self._evaluate = Batched(self._pulled, axis=0)
        self._axes: dict[tuple[int, ...], list[Axis | None]] = {}

    def outputs(
        self, theta: Parameters, x: Tensor, forward: ForwardPass | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Outputs of a batch in the precision of the computation, [n, …], and what was drawn for each of its samples, [n, …]."""
        if forward is None or forward.generator is None:
            return self._call(self._model, theta, x), ()
        drawn = self._drawn(forward)
        with drawn.active():
            outputs = self._call(self._own, theta, x)
        if self._model is not self._own:
            with Given(drawn.drawn).active():
                outputs = self._call(self._model, theta, x)
        axes = self._find_axes(theta, x, forward)
        noise = (by_sample(part, axis, len(x)) for part, axis in zip(drawn.drawn, axes, strict=True))
        return outputs, tuple(noise)

    def trained(self, theta: Parameters, x: Tensor, forward: ForwardPass | None) -> Tensor:
        """Outputs of a batch as training had them, to the bit on the same kind of processor, [n, …]."""
        if forward is None or forward.generator is None:
            return self._call(self._trained, theta, x)
        self._check_device(forward)
        with at_state(forward.mode.device, forward.generator):
            return self._call(self._trained, theta, x)

    def batch(self, theta: Parameters, x: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Outputs [n, …] of samples whose noise [n, …] was drawn before."""
        if not noise:
            return self._call(self._model, theta, x)
        whole = [of_batch(part, axis) for part, axis in zip(noise, self._axes[x.shape[1:]], strict=True)]
        with Given(whole).active():
            return self._call(self._model, theta, x)

    def gradients(self, theta: Parameters, samples: Sequence[Tensor]) -> list[Tensor]:
        """δ_k·∇f_θ(x_k) of single samples, from (x, δ, noise …) [n, …] each: [n, entries] of each tensor of θ in order.

        They may share memory with each other: read them, do not write to them.
        """
        return self._evaluate(list(theta.values()), samples)

    @contextmanager
    def precision(self, *, backward: bool = False) -> Iterator[None]:
        """The autocast of the run's forward pass and loss, or of its backward pass, if it had one."""
        if self._autocast is None or (backward and not self._mode.backward):
            yield
            return
        with torch.autocast(self._own.device.type, self._autocast):
            yield

    def _pulled(self, *arguments: Tensor) -> list[Tensor]:
        layout = self._own.layout
        names = layout.names
        theta, samples = dict(zip(names, arguments, strict=False)), arguments[len(names) :]

        def pulled(parameters: dict[str, Tensor], x: Tensor, d: Tensor, *noise: Tensor) -> Tensor:
            with Given(noise).active() if noise or self.rounded else nullcontext():
                outputs = self._call(self._model, parameters, x.unsqueeze(0)).squeeze(0)
            return (outputs * d).sum()

        with self.precision(backward=True):
            gradients = vmap(grad(pulled), in_dims=(None, *[0] * len(samples)))(theta, *samples)
        by_tensor, count = zip(names, layout.sizes, strict=True), len(samples[0])
        return [gradients[name].reshape(count, size).to(self._dtype) for name, size in by_tensor]

    def _call(self, model: FunctionalModel, theta: Parameters, x: Tensor) -> Tensor:
        if model.dtype != self._dtype:
            theta = {name: value.to(model.dtype) for name, value in theta.items()}
            x = x.to(model.dtype) if x.is_floating_point() else x
        with self.precision():
            return model(theta, x)

    def _drawn(self, forward: ForwardPass) -> Drawn:
        self._check_device(forward)
        return Drawn(forward.mode.device, forward.generator)

    def _check_device(self, forward: ForwardPass) -> None:
        """Generators of different kinds of processor draw different numbers from one state."""
        present = self._own.device.type
        if forward.mode.device != present:
            raise QueryError(
                f"The run drew its random numbers on {forward.mode.device}, and they cannot be drawn again on {present}.",
                expected=f"a machine with {forward.mode.device}",
                got=present,
                remedy="Explain the run on the kind of processor that trained it.",
            )

    def _find_axes(self, theta: Parameters, x: Tensor, forward: ForwardPass) -> list[Axis | None]:
        key = x.shape[1:]
        if key not in self._axes:
            passes = []
            for count in (1, 2):
                drawn = self._drawn(forward)
                with torch.no_grad(), drawn.active():
                    self._call(self._own, theta, x[:1].expand(count, *key))
                passes.append(drawn.drawn)
            self._axes[key] = sample_axes(*passes)
        return self._axes[key]


class TrainingPasses:
    """The model in every mode of a run's forward passes, each copied once.

    Args:
        model: in evaluation mode, in the precision of the computation.
    """

    def __init__(self, model: FunctionalModel) -> None:
        self._model = model
        self._made: dict[Mode | None, TrainingPass] = {}

    def of(self, batch: MicroBatch) -> TrainingPass:
        """The model in the mode of the micro-batch's forward pass."""
        mode = None if batch.forward is None else batch.forward.mode
        if mode not in self._made:
            self._made[mode] = TrainingPass(self._model, mode)
        return self._made[mode]
