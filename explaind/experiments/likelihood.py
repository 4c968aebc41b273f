"""The loss of every classifier here: the negative log-likelihood of log-probabilities."""

from __future__ import annotations

from torch import Tensor

__all__ = ["negative_log_likelihood"]


def negative_log_likelihood(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log-likelihood of `targets [N]` under log-probabilities `outputs [N, O]`, in nats.

    Through gather, not `F.nll_loss`, so that it can be differentiated per sample under vmap.
    """
    return -outputs.gather(-1, targets.unsqueeze(-1)).mean()
