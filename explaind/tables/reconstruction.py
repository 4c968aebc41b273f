"""Every checkpoint's simulated update: the change of the held-out loss, its reconstruction from the scores, and the error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from explaind.store import read_dataset
from explaind.store.files import write_csv

__all__ = ["write"]


def write(updates: Path, *, output: Path) -> None:
    """Write one row per checkpoint.

    Args:
        updates: store "updates".
        output: CSV: checkpoint, step, lr, heldout_loss and train_loss (before the update, nats per token), gradient_norm, clip,
            change, reconstruction, residual, relative_error (|residual / change|), passes (over the held-out samples), error_1,
            error_3, … (the relative error with that many nodes on the whole path; empty where fewer were enough), batch,
            momentum, regularization (their sums), seconds, notes (what the readers had to assume; empty for our own).
    """
    found = read_dataset(updates, kind="updates")
    change = found["change"].values
    terms = found["score"].sum("unit")
    table = pd.DataFrame(
        {
            "checkpoint": found["checkpoint"].values,
            "step": found["step"].values,
            "lr": found["lr"].values,
            "heldout_loss": found["before"].mean("heldout").values,
            "train_loss": found["train_loss"].values,
            "gradient_norm": found["gradient_norm"].values,
            "clip": found["clip"].values,
            "change": change,
            "reconstruction": found["reconstruction"].values,
            "residual": found["residual"].values,
            "relative_error": np.abs(found["residual"].values / change),
            "passes": found["passes"].values,
            **{
                f"error_{count}": np.abs(found["by_nodes"].sel(nodes=count).values / change - 1)
                for count in found["nodes"].values
            },
            **{str(term): terms.sel(term=term).values for term in found["term"].values},
            "seconds": found["seconds"].values,
            "notes": found["notes"].values,
        }
    )
    write_csv(table, output)
