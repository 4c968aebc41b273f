"""What interventions are measured with: sums of the terms of updates, the mean loss in float64, a window made again unchanged."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad

from explaind.errors import TrainingError
from explaind.experiments.experiment import Experiment
from explaind.features.frozen import frozen_copy
from explaind.ledger import Ledger, UpdateTerms
from explaind.recording.trajectory import Trajectory
from explaind.studies.counterfactual import Counterfactual

__all__ = ["MeanLoss", "repeated", "summed_terms"]

DRIFT = 0.1  # of the way that a window goes: more than rounding does, less than another loss, order or option


def summed_terms(run: Trajectory, start: int, stop: int) -> dict[str, Tensor]:
    """Σ_s of each term of the updates start … stop−1 by name, and of all of them as "all", [D], in float64."""
    terms = UpdateTerms(Ledger(run, torch.float64))
    total = sum(terms.at(s) for s in range(start, stop))
    return {**dict(zip(terms.names, total, strict=True)), "all": total.sum(0)}


class MeanLoss:
    """θ [D] → the mean loss of the tests, evaluated in float64: effects of single parameters are below float32's rounding."""

    def __init__(self, run: Trajectory, experiment: Experiment, tests: tuple[Tensor, Tensor]) -> None:
        self._layout, self._loss, (inputs, self._targets) = run.layout, experiment.loss, tests
        self._model = frozen_copy(experiment.model, torch.float64, inputs.device, cast=True)
        self._inputs = _doubled(inputs)
        self._constants = {name: _doubled(value) for name, value in run.constants.items()}

    def value(self, theta: Tensor) -> Tensor:
        named = {**self._constants, **self._layout.unflatten(theta)}
        return self._loss(functional_call(self._model, named, (self._inputs,)), self._targets)

    def __call__(self, theta: Tensor) -> float:
        with torch.no_grad():
            return self.value(theta).item()

    def slope(self, theta: Tensor) -> Tensor:
        """∇L, [D]."""
        return grad(self.value)(theta)


def _doubled(values: Tensor) -> Tensor:
    return values.double() if values.is_floating_point() else values


def repeated(counterfactual: Counterfactual) -> Tensor:
    """The window made again without any change; what it differs by is the noise of all that is retrained."""
    run = counterfactual.run
    first, last = (run.parameters(s) for s in (counterfactual.start, counterfactual.stop))
    again = counterfactual()
    length, off = (last - first).norm().item(), (again - last).norm().item()
    if not off <= DRIFT * length:
        raise TrainingError(
            f"The updates {counterfactual.start} to {counterfactual.stop - 1}, made again, end elsewhere.",
            expected=f"at most {DRIFT:.0%} of the way that the window goes",
            got=f"{off / max(length, np.finfo(float).tiny):.2%}",
            remedy="Check that model, data and loss are those of the recording, or choose shorter windows.",
        )
    return again
