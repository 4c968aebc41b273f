"""One update of AdamW, Adam or SGD after a checkpoint, tensor by tensor, as the sum of its three terms (Remark F.3 of the paper).

Notation: θ are the parameters of the checkpoint, m and v its moments (m of SGD: the momentum buffer), t the update that is
simulated, g the gradient of the batch loss at θ, c the factor of gradient clipping. The update is the ledger's recursion
(`explaind.ledger.coefficients`), whose scalars μ, κ, ρ, σ and both decays it takes from there:

    d = c g + coupled θ        m′ = μ m + κ d        θ ← θ − P (ρ m′ + σ d) − decoupled θ
    v′ = β2 v + (1−β2) d²      P = 1 / (√(v′ / (1−β2^t)) + ε), 1 for SGD

    u_batch = (ρκ + σ) P c g      u_momentum = ρμ P m      u_decay = (ρκ + σ) P coupled θ + decoupled θ
    θ(τ) = θ − τ (u_batch + u_momentum + u_decay),  τ from 0 to 1

This is a recording of one update whose buffer is not zero at first: of `explaind.ledger.terms`, u_batch is −kernel, u_momentum is
−carried, and u_decay is −regularization.

For AdamW that is α (1−β1) / (1−β1^t) · P c g,  α β1 / (1−β1^t) · P m  and  α λ θ. Adam and SGD couple the decay into d: u_decay
is what this update's θ enters with; decay that earlier updates put into m is part of u_momentum.

A parameter without gradient is skipped, as torch skips it: no decay, no momentum. Held at once, besides what the backward pass
needs: θ, the moving parameters, u_batch (in the place of g), u_momentum (in the place of m), and with Adam's coupled decay the
factor of θ. The second moment of a tensor is dropped as soon as P was formed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from explaind.errors import TrainingError
from explaind.ledger import RULES, Coefficients
from explaind.recording.steps import StepRecord

if TYPE_CHECKING:
    from explaind.checkpoints import Checkpoint, GroupedHyperparameters, Hyperparameters, Options

__all__ = ["TERMS", "Update", "clip_factor", "make_update"]

TERMS = ("batch", "momentum", "regularization")
CLIP_EPS = 1e-6  # torch.nn.utils.clip_grad_norm_ adds this to the norm


@dataclass(frozen=True)
class Update:
    """θ and the terms of one update, by the name of each parameter that it moves, in the precision in which moments are kept.

    Attributes:
        start: θ.
        batch, momentum: u_batch and u_momentum.
        decay: factors of θ, u_decay = decay · start: a number, or one per entry (Adam's coupled decay).
        coefficients: the ledger's scalars of this update, for each parameter a group of its own.
        preconditioner: P, if it is kept; a parameter without one has P = 1.
        gradient_norm: ‖g‖ before clipping.
        clip: the factor c.
    """

    start: Mapping[str, Tensor]
    batch: Mapping[str, Tensor]
    momentum: Mapping[str, Tensor]
    decay: Mapping[str, float | Tensor]
    coefficients: Mapping[str, Coefficients]
    preconditioner: Mapping[str, Tensor]
    gradient_norm: float
    clip: float

    def weight(self, name: str) -> float:
        """ρκ + σ: the factor between P c g and u_batch."""
        return _entering_weight(self.coefficients[name])

    @torch.no_grad()
    def place(self, model: nn.Module, at: float) -> None:
        """Move the model to θ(at); parameters that the update does not move stay."""
        for name, parameter in model.named_parameters():
            if name not in self.start:
                continue
            if at == 0:  # not by way of the terms: 0 times infinity is no number
                parameter.copy_(self.start[name])
            elif parameter.dtype == self.start[name].dtype:
                parameter.copy_(self.start[name])
                self._move(name, parameter, at)
            else:  # low-precision weights: moved in full precision, then rounded once
                moved = self.start[name].clone()
                self._move(name, moved, at)
                parameter.copy_(moved)

    def _move(self, name: str, tensor: Tensor, at: float) -> None:
        tensor.mul_(1 - at * self.decay[name])
        tensor.sub_(self.batch[name], alpha=at).sub_(self.momentum[name], alpha=at)


def make_update(
    checkpoint: Checkpoint,
    start: Mapping[str, Tensor],
    gradient: dict[str, Tensor],
    *,
    keep_preconditioner: bool = False,
) -> Update:
    """The update that the checkpoint's optimizer makes with this gradient.

    Args:
        checkpoint: holds the moments, which are read one tensor at a time, and the hyperparameters.
        start: θ by name.
        gradient: g by name, before clipping, of the parameters that the optimizer holds and the batch's loss depends on; its
            tensors are overwritten by u_batch.
        keep_preconditioner: keep P as well: one more copy of the parameters.

    Raises:
        TrainingError: the gradient is not finite.
    """
    options = checkpoint.hyperparameters
    norm = float(torch.stack([tensor.double().square().sum() for tensor in gradient.values()]).sum().sqrt())
    if not norm < float("inf"):
        raise TrainingError(
            f"The gradient of the batch at {checkpoint.name} is not finite.",
            got=f"norm {norm}",
            remedy="Check the checkpoint with its verify(), and the batch.",
        )
    clip = clip_factor(options, norm)
    momentum, decay, coefficients, kept = {}, {}, {}, {}
    for name, g in gradient.items():
        own = options.of(name)
        record = _record(own)
        rule = RULES[own.optimizer]
        scalars = coefficients[name] = rule.coefficients(record, own.step == 0)
        weight, coupled = _entering_weight(scalars), scalars.coupled[0]
        m = checkpoint.exp_avg(name).to(device=g.device, dtype=g.dtype)
        entering = g.mul_(clip) if not coupled else g.mul_(clip).add(start[name], alpha=coupled)
        decay[name] = weight * coupled + scalars.decoupled[0]
        if rule.preconditioner is not None:
            v = checkpoint.exp_avg_sq(name).to(device=g.device, dtype=g.dtype)
            v.mul_(own.betas[1]).addcmul_(entering, entering, value=1 - own.betas[1])
            preconditioner = rule.preconditioner(record, v, lambda values: values[0])
            del v
            g.mul_(preconditioner)
            m.mul_(preconditioner)
            if coupled:
                decay[name] = preconditioner * decay[name]
            if keep_preconditioner:
                kept[name] = preconditioner
        g.mul_(weight)
        momentum[name] = m.mul_(scalars.rho[0] * scalars.mu[0])
    moved = {name: start[name] for name in gradient}
    return Update(moved, gradient, momentum, decay, coefficients, kept, norm, clip)


def _entering_weight(scalars: Coefficients) -> float:
    """ρκ + σ of a single group: what one unit of d moves the parameters by, before P."""
    return scalars.rho[0] * scalars.kappa[0] + scalars.sigma[0]


def _record(options: Options) -> StepRecord:
    """One parameter's next update as the ledger reads it, a group of its own."""
    return StepRecord(
        lr=(options.lr,),
        weight_decay=(options.weight_decay,),
        beta1=(options.betas[0],),
        beta2=(options.betas[1],),
        eps=(options.eps,),
        momentum=(options.momentum,),
        dampening=(options.dampening,),
        nesterov=(options.nesterov,),
        maximize=(False,),
        count=options.step + 1,
        clip_factor=1.0,
        clip_uniform=True,
        batches=(),
    )


def clip_factor(options: Hyperparameters | GroupedHyperparameters, norm: float) -> float:
    """c, as torch.nn.utils.clip_grad_norm_ computes it."""
    return 1.0 if options.clip_norm is None else min(1.0, options.clip_norm / (norm + CLIP_EPS))
