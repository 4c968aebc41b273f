"""Bands and cycles in a matrix over pairs of samples (test × train kernels, test × test similarities).

Notation: K is an `[n, m]` matrix, y_i and z_j the labels in 0..p-1 of its rows and columns, E = K minus its row and column
means (plus the mean). All shares are of a sum of squares, so they lie in [0, 1].

*Vertical bands*: columns that differ from each other as a whole. Their share of the variance is
Σ_j n (K̄_j − K̄)² / Σ_ij (K_ij − K̄)². Influences span orders of magnitude and are shown in logarithmic colours, so a training
sample that is strong for every test sample shows as a band of log|K|; the share is taken of both, K and log|K|.

*Same label*: the part of E that is the indicator of y_i = z_j.

*Cycles*: periodic in the label difference, apart from the same label, which would be a little of every cycle. Those pairs are
left out (set to their row and column means). The cycle of frequency k has the period p/k and the share

    share_k = 2 |Σ_ij E_ij exp(−2πi k (y_i − z_j)/p)|² / (n m Σ_ij E_ij²),    k = 1…(p−1)/2

(k and p−k are the same real cycle, hence the 2.) A matrix without cycles has share_k ≈ 2/(n m), which is negligible.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Cycles", "band_share", "cycle_shares", "describe_cycles", "log_size", "same_label_share"]

_FILLING_ROUNDS = 30  # each leaves about 1/p of the error


@dataclass(frozen=True)
class Cycles:
    """The cycles of one matrix.

    Attributes:
        share: share of E's sum of squares that all frequencies explain together.
        frequency: the strongest frequency k, whole cycles in p labels.
        strongest_share: share of that frequency alone.
        mean_frequency: Σ k share_k / Σ share_k.
    """

    share: float
    frequency: int
    strongest_share: float
    mean_frequency: float


def band_share(matrix: np.ndarray) -> float:
    """Share of the variance that the column means explain.

    A constant matrix has no variance to share: NaN. Independent entries give about 1/n.
    """
    total = matrix.var(dtype=np.float64)
    return float(matrix.mean(axis=0, dtype=np.float64).var() / total) if total else float("nan")


def log_size(matrix: np.ndarray) -> np.ndarray:
    """log|K| (float64); zeros, which have none, take the smallest size that occurs."""
    size = np.abs(matrix.astype(np.float64))
    positive = size[size > 0]
    return np.log(np.maximum(size, positive.min() if positive.size else 1.0))


def same_label_share(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> float:
    """Share of E's sum of squares along the indicator of equal labels; 0 if E vanishes or no labels are equal."""
    e = _interaction(matrix.astype(np.float64))
    same = np.equal.outer(rows, columns)
    energy = float((e**2).sum())
    if not same.any() or energy <= _rounding(matrix):
        return 0.0
    return float(e[same].sum() ** 2 / (same.sum() * energy))


def cycle_shares(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray, modulus: int) -> np.ndarray:
    """share_k for k = 1…(p−1)/2.

    Args:
        matrix: `[n, m]`.
        rows, columns: labels `[n]` and `[m]` of its rows and columns.
        modulus: p.

    Returns:
        `[(p−1)//2]` float64; zeros if E vanishes.
    """
    k = np.arange(1, (modulus - 1) // 2 + 1)
    e = _interaction(_without_same_label(matrix.astype(np.float64), rows, columns))
    energy = float((e**2).sum())
    if energy <= _rounding(matrix):
        return np.zeros(len(k))
    left = np.exp(-2j * np.pi * np.outer(k, rows) / modulus)  # [K, n]
    right = np.exp(2j * np.pi * np.outer(columns, k) / modulus)  # [m, K]
    # Real matrix times a complex one: two real products, half the work of converting E.
    projected = e @ right.real + 1j * (e @ right.imag)  # [n, K]
    amplitude = np.einsum("kn,nk->k", left, projected)
    return 2 * np.abs(amplitude) ** 2 / (matrix.size * energy)


def describe_cycles(shares: np.ndarray) -> Cycles:
    """Summary of `cycle_shares`. Without any cycle (all zero) the mean frequency is NaN and the frequency 0."""
    total = float(shares.sum())
    if total == 0:
        return Cycles(0.0, 0, 0.0, float("nan"))
    k = np.arange(1, len(shares) + 1)
    strongest = int(shares.argmax())
    return Cycles(total, strongest + 1, float(shares[strongest]), float((k * shares).sum() / total))


def _without_same_label(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The matrix with pairs of equal labels set to row mean + column mean − mean, these means including what was set."""
    i, j = np.nonzero(np.equal.outer(rows, columns))
    filled = matrix.copy()
    filled[i, j] = 0
    row_sums, column_sums = filled.sum(1), filled.sum(0)
    values = np.full(len(i), filled.sum() / max(filled.size - len(i), 1))
    for _ in range(_FILLING_ROUNDS):
        row = (row_sums + np.bincount(i, values, len(rows))) / len(columns)
        column = (column_sums + np.bincount(j, values, len(columns))) / len(rows)
        values = row[i] + column[j] - row.mean()
    filled[i, j] = values
    return filled


def _interaction(matrix: np.ndarray) -> np.ndarray:
    """What is left of a float64 matrix without its row and column means."""
    return matrix - matrix.mean(0, keepdims=True) - matrix.mean(1, keepdims=True) + matrix.mean()


def _rounding(matrix: np.ndarray) -> float:
    """Sum of squares below which a difference from means is nothing but rounding."""
    return np.finfo(np.float64).eps * float((matrix.astype(np.float64) ** 2).sum())
