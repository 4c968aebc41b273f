"""How well rebuilt predictions match a model's own: agreement, KL divergence, largest error (table 1, figure 8)."""

from __future__ import annotations

import numpy as np

__all__ = ["fidelity"]


def fidelity(predicted: np.ndarray, final: np.ndarray) -> dict[str, float]:
    """How well rebuilt log-probabilities `[N, O]` match the final ones.

    Returns:
        `agreement`: share of samples with the same largest output; `kl`: mean KL divergence from the final to the rebuilt
        distribution in nats (the rebuilt one normalised, as its exponentials need not add up to 1); `max_error`: largest absolute
        difference of any output.
    """
    predicted, final = predicted.astype(np.float64), final.astype(np.float64)
    log_rebuilt, log_final = _log_softmax(predicted), _log_softmax(final)
    return {
        "agreement": float((predicted.argmax(-1) == final.argmax(-1)).mean()),
        "kl": float((np.exp(log_final) * (log_final - log_rebuilt)).sum(-1).mean()),
        "max_error": float(np.abs(predicted - final).max()),
    }


def _log_softmax(values: np.ndarray) -> np.ndarray:
    shifted = values - values.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
