"""Frequencies over training in a few numbers, and what they do after memorisation (`explaind.studies.frequencies`)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from explaind.studies.finding import Finding, verdict

__all__ = ["CLAIMS", "SUMMARY", "concentrates", "moves_to_low", "summarise"]

SUMMARY = (
    "quantity",
    "step",
    "power",
    "strongest_frequency",
    "strongest_share",
    "mean_frequency",
    "effective_frequencies",
)


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """One row per quantity and step (`SUMMARY`) of a table of `explaind.studies.frequencies`."""
    rows = []
    for (quantity, step), part in table.groupby(["quantity", "step"], sort=False):
        share, k = part.share.to_numpy(), part.frequency.to_numpy()
        total, strongest = float(share.sum()), int(share.argmax())
        mean = float((k * share).sum() / total) if total else float("nan")
        effective = float(1 / (share**2).sum()) if total else float("nan")
        rows.append(
            (
                quantity,
                step,
                float(part.power.sum()),
                int(k[strongest]),
                float(share[strongest]),
                mean,
                effective,
            )
        )
    return pd.DataFrame(rows, columns=SUMMARY)


def moves_to_low(summary: pd.DataFrame, quantity: str, since: int) -> Finding:
    """Claim: power moves from high to low frequencies once the training set is memorised.

    Args:
        summary: of `summarise`.
        quantity: whose power.
        since: the update of memorisation; the claim is about those after it.
    """
    rows = summary[(summary.quantity == quantity) & (summary.step >= since)].sort_values("step")
    first, last = rows.iloc[0], rows.iloc[-1]
    rank = float(spearmanr(rows.step, rows.mean_frequency).statistic) if len(rows) > 2 else float("nan")
    falls, slower = (
        last.mean_frequency < first.mean_frequency,
        last.strongest_frequency < first.strongest_frequency,
    )
    return Finding(
        "frequencies",
        f"Power moves from high to low frequencies after memorisation: {quantity}.",
        "Mean frequency Σ k share_k and strongest frequency at memorisation and after the last update, and Spearman correlation "
        "of the mean frequency with the update in between. Reproduced: both fall, and the correlation is at most -0.5; partly: "
        "one of both falls.",
        f"mean {first.mean_frequency:.1f} at step {first.step:.0f}, {last.mean_frequency:.1f} at step {last.step:.0f} "
        f"(correlation {rank:+.2f}); strongest {first.strongest_frequency:.0f} ({first.strongest_share:.0%}), then "
        f"{last.strongest_frequency:.0f} ({last.strongest_share:.0%}); effective number {first.effective_frequencies:.1f}, then "
        f"{last.effective_frequencies:.1f}",
        "falling; by symmetry of the task in which frequencies are high, no direction is preferred over seeds",
        verdict(bool(falls and slower and np.nan_to_num(rank) <= -0.5), bool(falls or slower)),
        float(last.mean_frequency - first.mean_frequency),
    )


def concentrates(summary: pd.DataFrame, quantity: str, since: int) -> Finding:
    """Claim: power concentrates on few frequencies once the training set is memorised; arguments as for `moves_to_low`."""
    rows = summary[(summary.quantity == quantity) & (summary.step >= since)].sort_values("step")
    first, last = rows.iloc[0], rows.iloc[-1]
    ratio = last.effective_frequencies / first.effective_frequencies
    return Finding(
        "frequencies",
        f"Power concentrates on few frequencies after memorisation: {quantity}.",
        "Effective number of frequencies, 1/Σ share², at memorisation and after the last update. Reproduced: it at least halves; "
        "partly: it falls.",
        f"{first.effective_frequencies:.1f} at step {first.step:.0f}, {last.effective_frequencies:.1f} at step {last.step:.0f}; "
        f"the strongest is then {last.strongest_frequency:.0f}, with {last.strongest_share:.0%} of the power",
        "falling",
        verdict(ratio <= 0.5, ratio < 1),
        float(ratio),
    )


#: Each of (summary, quantity, step of memorisation).
CLAIMS = (moves_to_low, concentrates)
