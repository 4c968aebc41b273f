"""Bands and cycles of every layer in every window: the numbers behind the claims about Figures 4, 5, 9 and 13."""

from __future__ import annotations

from explaind.config.declarations import Table
from explaind.studies.bands import write

__all__ = ["TABLE", "write"]

TABLE = Table(
    file="structure",
    shows="bands and cycles of every layer and window",
    details="One row per kind of matrix, layer and window.",
    caption="**Structure.** Shares of the variance of every test x train kernel and test x test similarity that vertical "
    "bands and cycles of the label difference explain, and the strongest frequency.",
    inputs={"windows": "window", "phases": "phases"},
    options=("name", "data", "model"),
    requires=("study.kernel", "data.modulus"),
    columns={
        "kind": (
            "",
            "`kernel` (test × train) or `similarity` (test × test, without each sample's similarity to itself)",
        ),
        "layer": ("", "whose matrix"),
        "window": ("", "of updates `start`…`stop`−1"),
        "start": ("step", "first update of the window"),
        "stop": ("step", "behind its last"),
        "band_share": (
            "share",
            "of the variance of log size, explained by training samples (vertical bands); kernels only",
        ),
        "signed_band_share": ("share", "the same of the signed values"),
        "same_label_share": (
            "share",
            "of the sum of squares without row and column means, along the pairs of equal labels",
        ),
        "cycle_share": (
            "share",
            "of the sum of squares without row and column means and without pairs of equal labels, explained by all cycles "
            "in the label difference",
        ),
        "frequency": ("cycles in p labels", "of the strongest cycle; its period is p / frequency labels"),
        "frequency_share": ("share", "of that cycle alone"),
        "mean_frequency": ("cycles in p labels", "mean weighted by the cycles' shares"),
    },
)
