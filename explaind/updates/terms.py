"""One AdamW update after a checkpoint, tensor by tensor, as the sum of its three terms (Remark F.3 of the paper).

Notation: θ are the parameters of the checkpoint, m and v its moments, t = step + 1 the update that is simulated, g the gradient
of the batch loss at θ, c the factor of gradient clipping.

    v′ = β2 v + (1−β2) (c g)²                     P = 1 / (√(v′ / (1−β2^t)) + ε)
    u_batch    = α (1−β1) / (1−β1^t) · P c g      u_momentum = α β1 / (1−β1^t) · P m      u_decay = α λ θ
    θ(τ) = θ − τ (u_batch + u_momentum + u_decay),  τ from 0 to 1

Held at once, besides what the backward pass needs: θ, the moving parameters, u_batch (in the place of g) and u_momentum (in the
place of m). The second moment of a tensor is dropped as soon as P was formed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from explaind.errors import TrainingError

if TYPE_CHECKING:
    from explaind.checkpoints import Checkpoint, Hyperparameters

__all__ = ["TERMS", "Update", "clip_factor", "make_update", "on_gradients", "sum_gradients"]

TERMS = ("batch", "momentum", "regularization")
CLIP_EPS = 1e-6  # torch.nn.utils.clip_grad_norm_ adds this to the norm


@dataclass(frozen=True)
class Update:
    """θ and the terms of one update, by parameter name, in the precision in which moments are kept.

    Attributes:
        start: θ.
        batch, momentum: u_batch and u_momentum.
        decay: αλ of each tensor, so that u_decay = decay · start.
        preconditioner: P, if it was asked for.
        gradient_norm: ‖g‖ before clipping.
        clip: the factor c.
    """

    start: Mapping[str, Tensor]
    batch: Mapping[str, Tensor]
    momentum: Mapping[str, Tensor]
    decay: Mapping[str, float]
    preconditioner: Mapping[str, Tensor]
    gradient_norm: float
    clip: float

    @torch.no_grad()
    def place(self, model: nn.Module, at: float) -> None:
        """Move the model to θ(at)."""
        for name, parameter in model.named_parameters():
            if parameter.dtype == self.start[name].dtype:
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
        gradient: g by name, before clipping; its tensors are overwritten by u_batch.
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
    momentum, kept = {}, {}
    for name, g in gradient.items():
        g.mul_(clip)
        m, v = (
            read(name).to(device=g.device, dtype=g.dtype)
            for read in (checkpoint.exp_avg, checkpoint.exp_avg_sq)
        )
        momentum[name], preconditioner = _terms(options, g, m, v)
        if keep_preconditioner:
            kept[name] = preconditioner
    decay = {name: options.lr * options.decay(name) for name in start}
    return Update(start, gradient, momentum, decay, kept, norm, clip)


def _terms(options: Hyperparameters, g: Tensor, m: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """u_momentum (in m's memory) and P (in v's); u_batch replaces the clipped gradient in g's."""
    first, second = options.betas
    correction = 1 - first ** (options.step + 1)
    v.mul_(second).addcmul_(g, g, value=1 - second)
    denominator = v.sqrt_().div_((1 - second ** (options.step + 1)) ** 0.5).add_(options.eps)
    g.div_(denominator).mul_(options.lr * (1 - first) / correction)
    m.div_(denominator).mul_(options.lr * first / correction)
    return m, denominator.reciprocal_()


def clip_factor(options: Hyperparameters, norm: float) -> float:
    """c, as torch.nn.utils.clip_grad_norm_ computes it."""
    return 1.0 if options.clip_norm is None else min(1.0, options.clip_norm / (norm + CLIP_EPS))


def sum_gradients(model: nn.Module) -> dict[str, Tensor]:
    """Zeros in float32 at least, by name: what `on_gradients` may add into."""
    return {
        name: torch.zeros_like(parameter, dtype=torch.promote_types(parameter.dtype, torch.float32))
        for name, parameter in model.named_parameters()
    }


@contextmanager
def on_gradients(model: nn.Module, use: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Inside, each parameter's gradient goes to `use(name, gradient)` as soon as the backward pass has it, and is freed after it.

    So at most one tensor's gradient exists at a time. Gradients that the parameters hold before are dropped.
    """
    model.zero_grad(set_to_none=True)

    def hook(name: str, parameter: nn.Parameter) -> None:
        use(name, parameter.grad)
        parameter.grad = None

    handles = [
        parameter.register_post_accumulate_grad_hook(partial(hook, name))
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
