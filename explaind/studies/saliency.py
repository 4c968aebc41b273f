"""Scores of single parameters: which of them would a method keep?

Notation: θ the final parameters, D in all; f_θ(x) the O outputs of sample x; ℓ_k the loss of training sample k, N in all.

explaind          B({p}) = Σ_x Σ_j |Σ_s Σ_k I[s, p, k, x, j]|, the kernel importance over the whole run (method.md, section 3)
gradient_weight   Σ_x Σ_j |θ_p ∂f_θ(x)_j / ∂θ_p|: what setting p to zero does to the same outputs, to first order
magnitude         |θ_p|
change            |θ_p − its initial value|
snip              |θ_p · mean_k ∂ℓ_k / ∂θ_p|, SNIP's sensitivity (Lee et al., 2019) at the final instead of the initial parameters
fisher            θ_p² · mean_k (∂ℓ_k / ∂θ_p)², the diagonal of the empirical Fisher information (arXiv 1801.05787)
random            uniform on [0, 1)

The first two see the inputs of the scored test samples, but no labels; snip and fisher see the training samples and their labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad, jacrev, vmap

from explaind.attribution import influence
from explaind.experiments.experiment import Experiment
from explaind.recording.trajectory import Trajectory

__all__ = ["Saliency"]

BLOCK_BYTES = 256 << 20  # of the gradients of one block of samples


class Saliency:
    """Scores of a recorded run's parameters, by name, each of the parameter's shape; larger means more important.

    Args:
        run: the recorded run.
        experiment: what it trained; its model holds the final parameters.
        tests: positions of the test samples that may be scored on.
        options: `study.pruning.{tolerance,max_nodes}`.
        generator: of the random scores.
    """

    def __init__(
        self,
        run: Trajectory,
        experiment: Experiment,
        tests: Tensor,
        options: Mapping[str, Any],
        generator: torch.Generator,
    ) -> None:
        self._run, self._experiment, self._tests = run, experiment, tests
        self._options, self._generator = options, generator
        own = dict(experiment.model.named_parameters())
        self._theta = {name: own[name].detach() for name in run.layout.names}

    def __call__(self, method: str) -> dict[str, Tensor]:
        """The scores of a method of the module's list."""
        return getattr(self, f"_{method}")()

    def _explaind(self) -> dict[str, Tensor]:
        scores = influence(
            self._run,
            self._experiment.model,
            test=self._experiment.test[0][self._tests],
            keep=("parameter",),
            importance=("test", "output"),
            tolerance=self._options["tolerance"],
            max_nodes=self._options["max_nodes"],
        )
        return self._run.layout.unflatten(torch.from_numpy(scores["kernel"].values))

    def _gradient_weight(self) -> dict[str, Tensor]:
        total = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in self._theta.items()}

        def outputs(theta: dict[str, Tensor], x: Tensor) -> Tensor:
            return functional_call(self._experiment.model, theta, (x.unsqueeze(0),)).squeeze(0)

        rows = vmap(jacrev(outputs), in_dims=(None, 0))
        inputs = self._experiment.test[0][self._tests]
        for part in inputs.split(self._block(self._experiment.classes)):
            for name, gradient in rows(self._theta, part).items():
                total[name] += (gradient * self._theta[name]).abs().sum((0, 1), dtype=torch.float64)
        return total

    def _magnitude(self) -> dict[str, Tensor]:
        return {name: value.abs() for name, value in self._theta.items()}

    def _change(self) -> dict[str, Tensor]:
        initial = self._run.layout.unflatten(self._run.parameters(0))
        return {name: (value - initial[name].to(value)).abs() for name, value in self._theta.items()}

    def _snip(self) -> dict[str, Tensor]:
        return {name: (value * self._moments[0][name]).abs() for name, value in self._theta.items()}

    def _fisher(self) -> dict[str, Tensor]:
        return {name: value**2 * self._moments[1][name] for name, value in self._theta.items()}

    def _random(self) -> dict[str, Tensor]:
        return {
            name: torch.rand(value.shape, generator=self._generator).to(value.device)
            for name, value in self._theta.items()
        }

    @cached_property
    def _moments(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Mean and mean square, over the training samples, of the gradient of a sample's loss, in float64."""
        experiment = self._experiment

        def loss(theta: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            outputs = functional_call(experiment.model, theta, (x.unsqueeze(0),))
            return experiment.loss(outputs, y.unsqueeze(0))

        gradients: Callable[..., dict[str, Tensor]] = vmap(grad(loss), in_dims=(None, 0, 0))
        first, second = (
            {name: torch.zeros_like(value, dtype=torch.float64) for name, value in self._theta.items()}
            for _ in range(2)
        )
        inputs, targets = experiment.train
        size = self._block(1)
        for x, y in zip(inputs.split(size), targets.split(size), strict=True):
            for name, gradient in gradients(self._theta, x, y).items():
                first[name] += gradient.sum(0, dtype=torch.float64) / len(inputs)
                second[name] += gradient.double().square_().sum(0) / len(inputs)
        return first, second

    def _block(self, rows: int) -> int:
        """Samples whose gradients, `rows` of each, fit into `BLOCK_BYTES`."""
        return max(1, BLOCK_BYTES // (4 * rows * self._run.layout.size))
