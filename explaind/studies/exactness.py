"""The claims on which the others rest: the decomposition adds up, and recording changed nothing."""

from __future__ import annotations

from math import nan

import numpy as np
import pandas as pd

from explaind.studies.finding import Finding, verdict

__all__ = ["completeness", "grokking", "recording_changes_nothing", "updates_are_rebuilt"]

ROUNDING = 1e-4  # float32 sums over thousands of steps, relative to the largest change of an output
RESIDUAL = 0.01  # what the quadrature may leave of the mean change


def completeness(initial: np.ndarray, change: np.ndarray, residual: np.ndarray, final: np.ndarray) -> Finding:
    """Claim: initial + Σ influence + Σ regularization + residual = final; arrays `[test, output]`, `change` holds both sums."""
    initial, change, residual, final = (a.astype(np.float64) for a in (initial, change, residual, final))
    scale = np.abs(final - initial)
    gap = float(np.abs(initial + change + residual - final).max() / scale.max())
    agreement = float(((initial + change).argmax(-1) == final.argmax(-1)).mean())
    share = float(np.abs(residual).mean() / scale.mean())
    return Finding(
        "table 1",
        "Influences and regularization add up to the change of every prediction.",
        "Largest |initial + kernel + regularization + residual - final| relative to the largest change of an output; mean "
        "|residual| relative to the mean change; and the share of tests whose largest output the sum without the residual "
        f"gets right. Reproduced: gap at most {ROUNDING:g}, residual at most {RESIDUAL:.0%} and 99.9% of tests; partly: the "
        "gap alone.",
        f"gap {gap:.1e}; residual {share:.2%} (at most {np.abs(residual).max():.3g}, of changes up to {scale.max():.3g}); "
        f"{agreement:.2%} of tests",
        "gap of rounding size, small residual, all tests right",
        verdict(gap <= ROUNDING and share <= RESIDUAL and agreement >= 0.999, gap <= ROUNDING),
        share,
    )


def recording_changes_nothing(identical: bool) -> Finding:
    """Claim: the recorded run ends with the very parameters of the unrecorded run of the same seed."""
    return Finding(
        "method",
        "Recording does not change training.",
        "SHA-256 of the final parameters of the recorded run against that of the same seed's unrecorded run. "
        "Reproduced: equal.",
        "equal" if identical else "different",
        "equal",
        verdict(identical, False),
    )


def updates_are_rebuilt(checks: pd.DataFrame) -> Finding:
    """Claim: the ledger rebuilds the observed updates; one row per update and check, `explaind.studies.explain_run.CHECKED`."""
    rebuilt, norms = (checks[checks.check == name] for name in ("gradients", "norms"))
    within = not bool((checks.relative > checks.accepted).any()) and len(rebuilt) > 0
    return Finding(
        "method",
        "Every recorded update is the stated sum over training samples and regularization.",
        "Relative l2 error of each update of the windows, rebuilt from its batch, and relative difference between the length of "
        "the gradient that each update of the run implies and the recorded one. Reproduced: all are at most what was accepted "
        "(the tolerance, and rounding of the stored parameters).",
        f"{rebuilt.relative.max():.2e} at most, {rebuilt.relative.median():.2e} in the median, over {len(rebuilt)} rebuilt "
        f"updates; {norms.relative.max():.2e} at most over {len(norms)} lengths",
        "at most what was accepted",
        verdict(within, False),
        float(rebuilt.relative.max()),
    )


def grokking(metrics: pd.DataFrame, memorised: int | None, generalised: int | None) -> Finding:
    """Claim: the model memorises first and generalises much later."""
    steps = int(metrics.step.iloc[-1])
    delay = None if memorised is None or generalised is None else generalised - memorised
    final = metrics.iloc[-1]
    return Finding(
        "3a",
        "The model memorises first and generalises later.",
        "First steps at which train and test accuracy pass their thresholds. Reproduced: generalisation comes later by at least "
        "10% of the run; partly: it comes later, or only memorisation is reached.",
        f"memorised at step {memorised}, generalised at {generalised}, of {steps}; final accuracy "
        f"{final.train_accuracy:.1%} (train), {final.test_accuracy:.1%} (test)",
        "a long delay",
        verdict(
            delay is not None and delay >= 0.1 * steps,
            delay > 0 if delay is not None else memorised is not None,
        ),
        nan if delay is None else delay / steps,
    )
