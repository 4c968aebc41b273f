"""What was measured of the updates an answer rests on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from explaind.ledger import DECISIVE

__all__ = ["Replay"]


@dataclass(frozen=True)
class Replay:
    """How far every update is from what its recorded batches and options imply.

    Attributes:
        how: "gradients", "norms", or "certificate" for the gradients rebuilt by `explaind.verify` before.
        tolerance: accepted relative difference, beyond rounding.
        relative, rounding: measured difference and what rounding of θ explains, both relative to the update, float64 [T]; NaN for
            updates the answer does not rest on.
        failed: updates above both together. Not empty only if the user chose to go on.
    """

    how: str
    tolerance: float
    relative: np.ndarray
    rounding: np.ndarray
    failed: tuple[int, ...] = ()

    def bound(self, s: int) -> float:
        """What was accepted for update s, relative to its length."""
        rounding = self.rounding[s]
        return self.tolerance + (float(rounding) if np.isfinite(rounding) else 0.0)

    @property
    def undecided(self) -> int:
        """Checked updates whose rounding hides what the comparison should show."""
        return int(((self.rounding > DECISIVE) & (self.relative > self.tolerance)).sum()) + int(
            np.isinf(self.rounding).sum()
        )
