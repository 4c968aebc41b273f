"""Errors by label difference: off which diagonal of the confusion matrix they lie, and how cyclic they are.

Notation: n tests, p labels 0…p−1 that add up modulo p. A prediction ŷ of the label y has the difference d = (ŷ − y) mod p: 0 is
right, and each other d is one cyclic off-diagonal of the confusion matrix. n_d counts the tests with difference d.

The cyclic error at frequency k is a share of the tests,

    A_k = |Σ_{d≠0} n_d exp(2πi k d / p)| / n   ≤   E = Σ_{d≠0} n_d / n,

0 for errors spread evenly over the differences, E if all of them lie where cos(2πk(d − d₀)/p) = 1. A_k / E says how cyclic the
errors are (in statistics of directions, their resultant length).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Cyclic", "cyclic_error", "difference_counts", "differences", "frequency", "resampled_counts"]

LEVELS = (0.025, 0.975)


class Cyclic(NamedTuple):
    """Cyclic errors of two networks on the same tests, shares of the tests; `low` and `high`: 95 % of the change."""

    frequency: int
    original: float
    swapped: float
    change: float
    low: float
    high: float


def differences(predicted: np.ndarray, labels: np.ndarray, modulus: int) -> np.ndarray:
    """d of each prediction, int64 [..., n]; p where the prediction is an output that is no label."""
    number = (predicted >= 0) & (predicted < modulus)
    return np.where(number, (predicted.astype(np.int64) - labels) % modulus, modulus)


def difference_counts(found: np.ndarray, modulus: int) -> np.ndarray:
    """n_d, int64 [p + 1], of `differences` [n]; the last counts predictions that are no label."""
    return np.bincount(found, minlength=modulus + 1)


def resampled_counts(found: np.ndarray, modulus: int, weights: np.ndarray) -> np.ndarray:
    """n_d of bootstrap samples, [R, p + 1]: `weights` [R, n] say how often each test is drawn."""
    return weights @ (found[:, None] == np.arange(modulus + 1)).astype(weights.dtype)


def frequency(*counts: np.ndarray) -> int:
    """k = 1…p//2 with the largest A_k of all these counts [p + 1] together: chosen for none of them alone."""
    pooled = np.sum(counts, axis=0)
    return 1 + int(np.argmax([_amplitude(pooled, k) for k in range(1, (len(pooled) - 1) // 2 + 1)]))


def cyclic_error(
    original: np.ndarray, swapped: np.ndarray, modulus: int, weights: np.ndarray
) -> tuple[Cyclic, Cyclic]:
    """A_k of both networks at the frequency of their errors together, and A_k / E, each with its change and interval.

    Args:
        original, swapped: `differences` [n] of the same tests.
        modulus: p.
        weights: [R, n], bootstrap samples of the tests; the frequency is that of all tests.

    Returns:
        Shares of the tests, and shares of the errors (NaN where there are none).
    """
    counts = [difference_counts(found, modulus) for found in (original, swapped)]
    k = frequency(*counts)
    drawn = [resampled_counts(found, modulus, weights) for found in (original, swapped)]

    def compare(relative: bool) -> Cyclic:
        first, second = (_amplitude(n, k) / _scale(n, relative) for n in counts)
        with np.errstate(invalid="ignore"):
            a, b = (_amplitude(n, k) / _scale(n, relative) for n in drawn)
        low, high = np.nanquantile(b - a, LEVELS) if np.isfinite(b - a).any() else (np.nan, np.nan)
        return Cyclic(k, float(first), float(second), float(second - first), float(low), float(high))

    return compare(relative=False), compare(relative=True)


def _amplitude(counts: np.ndarray, k: int) -> np.ndarray:
    """|Σ_{d≠0} n_d exp(2πi k d / p)| of counts [..., p + 1]."""
    p = counts.shape[-1] - 1
    return np.abs(counts[..., 1:p] @ np.exp(2j * np.pi * k * np.arange(1, p) / p))


def _scale(counts: np.ndarray, relative: bool) -> np.ndarray:
    """Tests, or errors whose prediction is a label (NaN for none), of counts [..., p + 1]."""
    total = counts.sum(-1) if not relative else counts[..., 1:-1].sum(-1)
    return np.where(total > 0, total, np.nan)
