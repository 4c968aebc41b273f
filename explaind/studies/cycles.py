"""Bands and cycles in a matrix over pairs of samples (test × train kernels, test × test similarities).

Notation: K is an `[n, m]` matrix, y_i and z_j the labels in 0..p-1 of its rows and columns, E = K minus its row and column
means (plus the mean). All shares are of a sum of squares, so they lie in [0, 1].

A *vertical band* is a column whose mean differs from the others: its share is Σ_j n (K̄_j − K̄)² / Σ_ij (K_ij − K̄)². A *cycle* of
frequency k, i.e. of period p/k in the label difference, is the part of E along exp(2πi k (y_i − z_j)/p):

    share_k = 2 |Σ_ij E_ij exp(−2πi k (y_i − z_j)/p)|² / (n m Σ_ij E_ij²),    k = 1…(p−1)/2

(k and p−k are the same real cycle, hence the 2.) A matrix without cycles has share_k ≈ 2/(n m), which is next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Cycles", "band_shares", "cycle_shares", "describe_cycles"]


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


def band_shares(matrix: np.ndarray) -> tuple[float, float]:
    """Shares of the variance that the column means (vertical bands) and the row means (horizontal bands) explain.

    A constant matrix has no variance to share: both are NaN. Independent entries give about 1/n and 1/m.
    """
    total = matrix.var(dtype=np.float64)
    if total == 0:
        return float("nan"), float("nan")
    columns, rows = (matrix.mean(axis=axis, dtype=np.float64).var() / total for axis in (0, 1))
    return float(columns), float(rows)


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
    e = matrix.astype(np.float64)
    e = e - e.mean(0, keepdims=True) - e.mean(1, keepdims=True) + e.mean()
    energy = float((e**2).sum())
    if energy <= np.finfo(np.float64).eps * float((matrix.astype(np.float64) ** 2).sum()):
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
