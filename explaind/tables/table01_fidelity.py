"""Table 1: do the summed influences reproduce the model's predictions? One row per experiment and number of nodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from explaind.config.declarations import Table
from explaind.store.files import write_csv

__all__ = ["COLUMNS", "TABLE", "write"]

TABLE = Table(
    file="table01_fidelity",
    shows="predictions rebuilt, by number of nodes",
    details="One row per experiment and quadrature: predictions rebuilt from influences. How long each took is in "
    "`timings.csv`, rules `quadrature` and `influence`.",
    caption="**Table 1.** How well initial prediction + influence + regularization rebuilds the final prediction, with the "
    "adaptive quadrature and with fixed numbers of nodes at every update: agreement of the predicted class, KL divergence, "
    "largest error, nodes per test sample and update.",
    inputs={"fidelities": "fidelity"},
    requires="study.quadrature",
    across=True,
    columns={
        "model": ("", "its name in the configuration"),
        "data": ("", "its name in the configuration"),
        "nodes": ("", "integration nodes at every step, or `adaptive`"),
        "agreement": ("share", "tests whose largest rebuilt output is the model's"),
        "kl": ("nats", "mean KL divergence from the model's distribution to the rebuilt one (normalised)"),
        "max_error": ("nats", "largest absolute difference of any output"),
        "mean_nodes": ("nodes", "mean per step and test sample"),
        "tests": ("", "explained test samples"),
        "steps": ("updates", "of the training"),
    },
)

COLUMNS = tuple(TABLE.columns)


def write(*, fidelities: Sequence[Path], output: Path) -> None:
    """Write the table: the rows of every experiment, one after the other.

    Args:
        fidelities: CSV of each experiment, made by `explaind.studies.fidelity`.
        output: CSV with `COLUMNS`.
    """
    write_csv(pd.concat([pd.read_csv(path) for path in fidelities])[list(COLUMNS)], output)
