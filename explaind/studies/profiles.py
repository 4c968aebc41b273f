"""A similarity matrix as a function of the label difference, and the range of its values off the diagonal.

Notation: S is an `[n, n]` matrix of cosines, y_i the labels in 0…p−1 of its rows and columns. Pairs are i ≠ j: each sample is
like itself, whatever its label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Profile", "difference_profile", "offdiagonal_range"]

TAIL = 0.005  # of the pairs on either side that a range leaves out, so that single pairs do not set it
BAND = (0.1, 0.9)  # quantiles of the pairs at each difference


@dataclass(frozen=True)
class Profile:
    """Cosines of pairs by label difference.

    Attributes:
        difference: δ = y_i − y_j mod p as −(p−1)/2…(p−1)/2 (p odd), those that occur.
        mean: of the pairs at each difference.
        low, high: quantiles (`BAND`) of the pairs at each difference.
    """

    difference: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def difference_profile(similarity: np.ndarray, labels: np.ndarray, modulus: int) -> Profile:
    """The pairs i ≠ j of `similarity [n, n]` by the difference of their `labels [n]` modulo p."""
    half = (modulus - 1) // 2
    index = (np.subtract.outer(labels, labels) + half) % modulus
    pairs = ~np.eye(len(labels), dtype=bool)
    index, values = index[pairs], similarity[pairs].astype(np.float64)
    order = np.argsort(index, kind="stable")
    present, starts = np.unique(index[order], return_index=True)
    groups = np.split(values[order], starts[1:])
    low, high = (np.array([np.quantile(group, q) for group in groups]) for q in BAND)
    return Profile(present - half, np.array([group.mean() for group in groups]), low, high)


def offdiagonal_range(similarity: np.ndarray) -> tuple[float, float]:
    """The values between which all but `TAIL` of the pairs i ≠ j lie on either side."""
    values = similarity[~np.eye(len(similarity), dtype=bool)].astype(np.float64)
    low, high = np.quantile(values, (TAIL, 1 - TAIL))
    return float(low), float(high)
