"""Frequencies over training in a few numbers: which is strongest, their mean, and how many share the power."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from explaind.config.declarations import Table
from explaind.store.files import write_csv
from explaind.studies.spectrum import summarise

__all__ = ["TABLE", "write"]

TABLE = Table(
    file="frequencies",
    shows="frequencies of parameters and logits over training",
    details="One row per quantity and measured update; the power of every frequency is in `{experiment}/frequencies.csv`.",
    caption="**Frequencies over training.** The strongest frequency, the mean frequency, and how many share the power.",
    inputs={"frequencies": "frequencies"},
    requires="study.frequencies",
    columns={
        "quantity": ("", "`logits`, or the parameter whose rows belong to the numbers"),
        "step": ("step", "before this update; the last: after the run"),
        "power": ("squared units of the quantity", "of all frequencies together"),
        "strongest_frequency": ("cycles in p labels", "with the largest share"),
        "strongest_share": ("share", "of the power"),
        "mean_frequency": ("cycles in p labels", "Σ k share_k; (p+1)/4 for noise"),
        "effective_frequencies": ("", "1 / Σ share²"),
    },
)


def write(*, frequencies: Path, output: Path) -> None:
    """Summarise the power of all frequencies.

    Args:
        frequencies: CSV of `explaind.studies.frequencies`.
        output: CSV with the declared columns.
    """
    write_csv(summarise(pd.read_csv(frequencies)), output)
