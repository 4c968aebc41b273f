"""A recorded run that goes on differently from one of its updates: without a term of a group's updates, or without samples.

Notation: θ_s are the recorded parameters, θ'_s those of the other run, θ'_a = θ_a; s = a … b−1 are the updates of a window. The
optimizer starts with the state that it had before update a. Every gradient is computed anew at θ'_s, from the recorded batches.

    without the kernel of a group G      θ'_{s+1}[G] = θ'_s[G] − α_s λ θ'_s[G]                    decay alone
    without the regularization of G      θ'_{s+1}[G] = θ'_s[G] + u'_s[G] + α_s λ θ'_s[G]          AdamW's step, its decay undone
    without samples K                    δ_k = 0 for k ∈ K:  g'_s = Σ_{k ∉ K} g'_{s,k}            the others keep their weight

In the last, a batch mean stays divided by the whole batch: what is left out is exactly what the decomposition calls a sample's
gradient. (`explaind.studies.retrain` divides by the samples that are left, as a run without them would.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from explaind.errors import ConfigError, TrainingError
from explaind.experiments.experiment import Experiment
from explaind.ledger import Ledger, buffer_before
from explaind.recording.state import OptimizerState, restore_state
from explaind.recording.trajectory import Trajectory

__all__ = ["TERMS", "Counterfactual"]

TERMS = ("kernel", "regularization")


@dataclass(frozen=True)
class Counterfactual:
    """The updates [start, stop) of a run, to be made again with a change.

    Attributes:
        run: the recorded run.
        experiment: its data, loss and model, whose parameters are overwritten.
        start, stop: a and b.

    Raises:
        ConfigError: the optimizer is not AdamW, or maximizes, or the run clipped its gradients or weighted its batches.
    """

    run: Trajectory
    experiment: Experiment
    start: int
    stop: int

    def __post_init__(self) -> None:
        if self.run.optimizer != "AdamW":
            raise _not_made_again("an optimizer whose decay is a term of its own", self.run.optimizer)
        records = [self.run.step(s) for s in range(self.start, self.stop)]
        if any(not one.clip_uniform or abs(one.clip_factor - 1) > 1e-4 for one in records):
            raise _not_made_again("gradients as they are", "clipped gradients")
        if any(any(one.maximize) for one in records):
            raise _not_made_again("a loss that is lowered", "an optimizer that maximizes")
        if any(batch.weights is not None for one in records for batch in one.batches):
            raise _not_made_again("batches without weights", "weighted batches")

    def __call__(
        self, *, term: str | None = None, group: Tensor | None = None, without: Tensor | None = None
    ) -> Tensor:
        """θ'_b, [D], in the run's dtype, on the CPU.

        Args:
            term: "kernel" or "regularization", to be taken out of `group`'s updates; None: nothing is.
            group: positions in θ.
            without: training samples that are left out; None: none are.

        Raises:
            TrainingError: the loss became NaN or infinite.
        """
        experiment, layout = self.experiment, self.run.layout
        model, mask = experiment.model, self._mask(group)
        tensors = dict(model.named_parameters())
        parameters = [tensors[name] for name in layout.names]
        with torch.no_grad():
            for name, value in layout.unflatten(self.run.parameters(self.start)).items():
                tensors[name].copy_(value)
        optimizer = self._optimizer(parameters)
        restore_state(optimizer, parameters, layout, self.run.rules, self._state)
        left_out = torch.zeros(len(experiment.train[1]), dtype=torch.bool)
        if without is not None:
            left_out[without] = True
        for s in range(self.start, self.stop):
            record = self.run.step(s)
            for g, options in enumerate(optimizer.param_groups):
                options |= {"lr": record.lr[g], "weight_decay": record.weight_decay[g], "eps": record.eps[g]}
                options["betas"] = (record.beta1[g], record.beta2[g])
            before = [one.detach().clone() for one in parameters]
            optimizer.zero_grad()
            for batch in record.batches:
                self._backward(batch.indices, batch.views, left_out, s)
            optimizer.step()
            if term is not None:
                rates = [record.lr[g] * record.weight_decay[g] for g in layout.group]
                _remove(term, parameters, before, rates, mask)
        return torch.cat([one.detach().reshape(-1) for one in parameters]).cpu()

    def _optimizer(self, parameters: list[Tensor]) -> torch.optim.AdamW:
        """AdamW over the run's own groups; its options are set at every update."""
        groups = range(1 + max(self.run.layout.group))
        members = [
            [p for p, g in zip(parameters, self.run.layout.group, strict=True) if g == one] for one in groups
        ]
        return torch.optim.AdamW([{"params": part} for part in members])

    @property
    def _state(self) -> OptimizerState:
        """m_a, v_a and t before update a; the momentum is inferred from the update before."""
        run, ledger = self.run, Ledger(self.run, self.run.layout.dtype)
        second = run.initial_second_moment if self.start == 0 else run.second_moment(self.start - 1)
        buffer = buffer_before(ledger, _no_gradient, self.start, self.stop)
        return OptimizerState(buffer, second, run.initial_count + self.start)

    def _mask(self, group: Tensor | None) -> list[Tensor]:
        layout = self.run.layout
        mask = torch.zeros(layout.size, dtype=torch.bool)
        if group is not None:
            mask[group] = True
        return list(layout.unflatten(mask).values())

    def _backward(self, indices: Tensor, views: Tensor | None, left_out: Tensor, s: int) -> None:
        inputs, targets = self.experiment.seen(indices, views)
        outputs = self.experiment.model(inputs)
        kept = ~left_out[indices]
        if not bool(kept.all()):
            shape = (len(kept), *(1,) * (outputs.dim() - 1))
            outputs.register_hook(lambda delta: delta * kept.reshape(shape))
        loss = self.experiment.loss(outputs, targets)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"The training loss is {loss.item()} before update {s} of a counterfactual run.",
                expected="a finite loss",
                remedy="Choose shorter windows in study.proportionality.",
            )
        loss.backward()


def _remove(
    term: str, parameters: list[Tensor], before: list[Tensor], rates: list[float], mask: list[Tensor]
) -> None:
    """Undo one term of the update that was just made, where the mask is true."""
    with torch.no_grad():
        for theta, old, rate, chosen in zip(parameters, before, rates, mask, strict=True):
            other = old - rate * old if term == "kernel" else theta + rate * old
            theta.copy_(torch.where(chosen, other, theta))


def _no_gradient(s: int) -> Tensor:
    raise _not_made_again("learning rates above zero, from which the momentum follows", f"zero at update {s}")


def _not_made_again(expected: str, got: str) -> ConfigError:
    return ConfigError(
        "The updates of this run cannot be made again without a term.",
        expected=expected,
        got=got,
        remedy="Leave study.proportionality out of this experiment.",
    )
