"""The certificate in one row per experiment: how closely the ledger rebuilds the updates that were observed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from explaind.config.declarations import Table
from explaind.store import read_dataset
from explaind.store.files import write_csv

__all__ = ["COLUMNS", "TABLE", "write"]

TABLE = Table(
    file="certificate",
    shows="every update rebuilt",
    details="One row per experiment: the ledger against the observed updates.",
    caption="**Certificate.** The errors of the decomposition, reported apart: updates rebuilt from the recorded terms "
    "against observed ones, and the residual of the quadrature.",
    inputs={"certificates": "certify"},
    requires="verify",
    across=True,
    columns={
        "experiment": ("", "its folder"),
        "steps": ("updates", "recorded"),
        "passed": ("", "every step is within the tolerance"),
        "tolerance": ("share", "largest relative error that passes"),
        "max_replay_relative": (
            "share",
            "largest l2 error of a rebuilt update, relative to the update's norm",
        ),
        "step_of_max": ("step", "where it is largest"),
        "median_replay_relative": ("share", "its median"),
        "max_replay_error": ("parameter units", "largest absolute error of any parameter's update"),
        "clipped_steps": ("updates", "whose gradient was clipped"),
    },
)

COLUMNS = tuple(TABLE.columns)


def write(*, certificates: Sequence[Path], output: Path) -> None:
    """Write the summaries of stores of kind "certificate", each named after the experiment's folder, as CSV with `COLUMNS`."""
    write_csv(pd.DataFrame([_row(path) for path in certificates], columns=COLUMNS), output)


def _row(path: Path) -> dict[str, Any]:
    result = read_dataset(path, kind="certificate")
    relative = result["replay_relative"].values
    return {
        "experiment": path.parent.name,
        "steps": len(relative),
        "passed": bool(result.attrs["passed"]),
        "tolerance": float(result.attrs["tolerance"]),
        "max_replay_relative": float(relative.max()),
        "step_of_max": int(result["step"].values[relative.argmax()]),
        "median_replay_relative": float(np.median(relative)),
        "max_replay_error": float(result["replay_error"].max()),
        "clipped_steps": int((result["clip_factor"].values < 1).sum()),
    }
