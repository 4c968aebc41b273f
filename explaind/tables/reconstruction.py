"""Every checkpoint's simulated update: the change of the held-out loss, its reconstruction from the scores, and the error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from explaind.config.declarations import Table
from explaind.store import read_dataset
from explaind.store.files import write_csv

__all__ = ["TABLE", "write"]

TABLE = Table(
    file="reconstruction",
    shows="the loss change of every checkpoint's update",
    details="One row per checkpoint: one simulated update.",
    caption="Change of the held-out loss by one simulated update at every checkpoint, its reconstruction from the scores, "
    "and the error by number of nodes.",
    inputs={"updates": "updates"},
    requires="checkpoints",
    columns={
        "checkpoint": ("", "its name"),
        "step": ("updates", "made before"),
        "lr": ("", "learning rate of the update"),
        "heldout_loss": ("nats per token", "of the held-out sequences, before the update"),
        "train_loss": ("nats per token", "of the update's batch, before the update"),
        "gradient_norm": ("", "norm of the update's gradient"),
        "clip": ("", "the factor of clipping"),
        "change": ("nats per token", "of the held-out loss, exact: two forward passes"),
        "reconstruction": ("nats per token", "sum of all scores"),
        "residual": ("nats per token", "`change` − `reconstruction`"),
        "relative_error": ("share", "|`residual` / `change`|"),
        "passes": ("", "backward passes over the held-out samples"),
        "error_{nodes}": (
            "share",
            "relative error with that many nodes on the whole path, one column each; empty where fewer were enough",
        ),
        "batch": ("nats per token", "sum of the scores of the batch"),
        "momentum": ("nats per token", "of the momentum"),
        "regularization": ("nats per token", "of the weight decay"),
        "notes": (
            "",
            "what the checkpoint's readers had to assume, such as no clipping where a file does not tell; empty for our own",
        ),
    },
)


def write(*, updates: Path, output: Path) -> None:
    """Write one row per checkpoint.

    Args:
        updates: store "updates".
        output: CSV with the columns of `TABLE`, and `error_1`, `error_3`, … as far as there were updates with so many nodes.
    """
    explained = read_dataset(updates, kind="updates")
    change = explained["change"].values
    terms = explained["score"].sum("unit")
    table = pd.DataFrame(
        {
            "checkpoint": explained["checkpoint"].values,
            "step": explained["step"].values,
            "lr": explained["lr"].values,
            "heldout_loss": explained["before"].mean("heldout").values,
            "train_loss": explained["train_loss"].values,
            "gradient_norm": explained["gradient_norm"].values,
            "clip": explained["clip"].values,
            "change": change,
            "reconstruction": explained["reconstruction"].values,
            "residual": explained["residual"].values,
            "relative_error": np.abs(explained["residual"].values / change),
            "passes": explained["passes"].values,
            **{
                f"error_{count}": np.abs(explained["by_nodes"].sel(nodes=count).values / change - 1)
                for count in explained["nodes"].values
            },
            **{str(term): terms.sel(term=term).values for term in explained["term"].values},
            "notes": explained["notes"].values,
        }
    )
    write_csv(table, output)
