"""The claims about Figures 4, 5, 9, 12 and 13, measured on the table of bands and cycles and on the Lasso coefficients.

The table has one row per kind ("kernel" or "similarity"), layer and window, in the order of training, with the columns of
`explaind.tables.structure`. Definitions of the shares are in `explaind.studies.cycles`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from explaind.studies.finding import Finding, verdict

__all__ = [
    "bands_always",
    "cycles_appear",
    "cycles_slow_down",
    "equal_labels_only",
    "few_frequencies",
    "higher_layers_cyclic",
    "one_cosine_dominates",
]

VISIBLE = 0.1  # a tenth of the variance: far above chance (1/n), and visible in a figure
EQUAL = 0.5  # smallest over largest coefficient from which coefficients count as equal
FEW = 3  # frequencies
HIGHER = ("att. decoder", "linear 2", "decoder")
LOWER = ("embedding", "att. encoder")


def bands_always(table: pd.DataFrame, layer: str = "decoder") -> Finding:
    """Claim: at all stages each training sample has a global influence (vertical bands)."""
    shares = _by_window(table, "kernel", layer, "band_share")
    signed = _by_window(table, "kernel", layer, "signed_band_share")
    return Finding(
        "4, 9",
        "Vertical bands at all stages: each training sample has a global influence.",
        "Share of the variance of log|influence| over test x train pairs that a training sample's mean explains, "
        f"per window, for the {layer} (in brackets: of the signed influence; independent entries would give 1/tests). "
        f"Reproduced: at least {VISIBLE:.0%} in every window; partly: in some.",
        ", ".join(f"{name} {share:.1%} ({signed[name]:.1%})" for name, share in shares.items()),
        "a visible share in every window",
        verdict(min(shares.values()) >= VISIBLE, max(shares.values()) >= VISIBLE),
        min(shares.values()),
    )


def cycles_appear(table: pd.DataFrame, layer: str = "decoder") -> Finding:
    """Claim: cycles emerge after memorisation and sharpen."""
    shares = _by_window(table, "kernel", layer, "cycle_share")
    early, middle, late = (shares[name] for name in ("early", "middle", "late"))
    return Finding(
        "4, 9",
        "After memorisation off-diagonal cycles appear in the kernel and sharpen.",
        "Share of the kernel's sum of squares, without its row and column means and without pairs of equal labels, "
        f"that cycles in the label difference explain, per window, for the {layer}. Reproduced: it at least doubles "
        "from early to middle and grows again to late; partly: late is larger than early.",
        ", ".join(f"{name} {share:.2%}" for name, share in shares.items()),
        "growing from window to window",
        verdict(middle >= 2 * early and late > middle, late > early),
        late - early,
    )


def cycles_slow_down(table: pd.DataFrame, layer: str = "decoder") -> Finding:
    """Claim: the cycles move from high to low frequency."""
    mean = _by_window(table, "kernel", layer, "mean_frequency")
    strongest = _by_window(table, "kernel", layer, "frequency")
    slower_mean, slower = mean["late"] < mean["middle"], strongest["late"] < strongest["middle"]
    return Finding(
        "4, 9",
        "The cycles move from high to low frequency.",
        "Frequency of the strongest cycle and the mean frequency weighted by the cycles' shares (whole cycles in p labels), per "
        f"window, for the {layer}. Reproduced: both are lower in the late window than in the middle one; partly: one is.",
        ", ".join(f"{name} {strongest[name]:.0f} (mean {mean[name]:.1f})" for name in mean),
        "falling from window to window",
        verdict(slower and slower_mean, slower or slower_mean),
        mean["late"] - mean["middle"],
    )


def higher_layers_cyclic(table: pd.DataFrame) -> Finding:
    """Claim: the similarity of predictions is cyclic in the higher layers."""
    rows = table[(table.kind == "similarity") & (table.window == "late")]
    share = dict(zip(rows.layer, rows.cycle_share, strict=True))
    high, low = [share[name] for name in HIGHER], [share[name] for name in LOWER]
    return Finding(
        "5, 13",
        "Similarity is cyclic in the higher layers.",
        "Share of the similarity matrix's sum of squares, without its row and column means and without pairs of equal "
        "labels, that cycles in the label difference explain in the late window. Reproduced: at least "
        f"{VISIBLE:.0%} in {', '.join(HIGHER)}, and more than in {' and '.join(LOWER)}; partly: at least "
        f"{VISIBLE:.0%} in one of them.",
        ", ".join(f"{name} {value:.1%}" for name, value in share.items()),
        "large in the higher layers, smaller below",
        verdict(min(high) >= VISIBLE and min(high) > max(low), max(high) >= VISIBLE),
        min(high),
    )


def one_cosine_dominates(coefficients: pd.DataFrame, modulus: int) -> Finding:
    """Claim: one cosine explains the decoder's similarity.

    Integer periods can only surround a cycle of frequency k > 1 (its period is p/k, not whole as p is prime), so neighbours that
    share one cycle count as one cosine in part.
    """
    order = coefficients.reindex(
        coefficients.coefficient.abs().sort_values(ascending=False, kind="stable").index
    )
    total = float(order.coefficient.abs().sum())
    first = order.iloc[0]
    share = abs(float(first.coefficient)) / total if total else 0.0
    # In one cycle with the first: frequencies p/P less than half a cycle (in p labels) apart.
    near = np.abs(modulus / order.period - modulus / first.period) < 0.5
    joint = float(order.coefficient.abs()[near & (order.kind == first.kind)].sum()) / total if total else 0.0
    leading = ", ".join(
        f"{r.kind} {r.period}: {r.coefficient:.6f}" for r in order.head(5).itertuples() if r.coefficient
    )
    return Finding(
        "12",
        "One cosine dominates the Lasso fit of the decoder's similarity.",
        "Share of the absolute coefficients that the largest has, and that it has together with the periods whose frequency "
        "(p/period) is less than half a cycle away. Reproduced: the largest is a positive cosine with at least "
        "half; partly: together with its neighbours it has at least half.",
        f"{leading or 'all coefficients are zero'}; share of the first {share:.0%}, with its neighbours {joint:.0%}",
        "a cosine with most of the weight (the paper: period 113 with 85%)",
        verdict(
            first.kind == "cos" and first.coefficient > 0 and share >= 0.5,
            joint >= 0.5 and first.kind == "cos",
        ),
        share,
    )


def equal_labels_only(coefficients: pd.DataFrame) -> Finding:
    """Claim: the similarity says "same label" and nothing else: its Lasso has the same coefficient on every frequency."""
    cosines = coefficients[coefficients.kind == "cos"].coefficient
    kept, largest = int((cosines > 0).sum()), float(cosines.abs().max())
    ratio = float(cosines.min()) / largest if largest else 0.0
    return Finding(
        "12",
        "The decoder's similarity is an indicator of equal labels: all frequencies have equal coefficients.",
        "Lasso coefficients of the cosines of the frequencies k/p, k = 1…(p-1)/2, in the late window. Reproduced: all are "
        f"positive, and the smallest is at least {EQUAL:.0%} of the largest; partly: all are positive.",
        f"{kept} of {len(cosines)} are positive; smallest over largest {ratio:.2f}, largest {largest:.4f}",
        "holds on summed log-probabilities of a confident network, and not on logits",
        verdict(kept == len(cosines) and ratio >= EQUAL, kept == len(cosines)),
    )


def few_frequencies(coefficients: pd.DataFrame) -> Finding:
    """Claim: a few frequencies explain the similarity."""
    cosines = coefficients[coefficients.kind == "cos"].set_index("number").coefficient.abs()
    total, order = float(cosines.sum()), cosines.sort_values(ascending=False, kind="stable").head(FEW)
    share = float(order.sum()) / total if total else 0.0
    return Finding(
        "12",
        "Few frequencies explain the decoder's similarity.",
        f"Share of the absolute Lasso coefficients of the cosines of all frequencies k/p that the {FEW} largest have, in the "
        f"late window (equal coefficients: {FEW / max(len(cosines), 1):.0%}). Reproduced: at least 90%; partly: at least half.",
        f"{share:.0%}: " + ", ".join(f"k = {k}: {value:.4f}" for k, value in order.items()),
        "nearly all of it",
        verdict(share >= 0.9, share >= 0.5),
    )


def _select(table: pd.DataFrame, kind: str, layer: str) -> pd.DataFrame:
    """The rows of one kind of matrix and one layer, in the order of training."""
    return table[(table.kind == kind) & (table.layer == layer)]


def _by_window(table: pd.DataFrame, kind: str, layer: str, column: str) -> dict[str, float]:
    """Window name -> value of one column."""
    rows = _select(table, kind, layer)
    return {str(name): float(value) for name, value in zip(rows.window, rows[column], strict=True)}
