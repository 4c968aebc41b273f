"""The certificate in one row: how closely the ledger rebuilds the updates that were observed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from explaind.output import write_csv
from explaind.store import read_dataset

__all__ = ["COLUMNS", "write"]

COLUMNS = (
    "steps",
    "passed",
    "tolerance",
    "max_replay_relative",
    "step_of_max",
    "median_replay_relative",
    "max_replay_error",
    "clipped_steps",
)


def write(certificate: Path, *, output: Path) -> None:
    """Write the summary of a store of kind "certificate" as CSV with `COLUMNS`."""
    result = read_dataset(certificate, kind="certificate")
    relative = result["replay_relative"].values
    row = {
        "steps": len(relative),
        "passed": bool(result.attrs["passed"]),
        "tolerance": float(result.attrs["tolerance"]),
        "max_replay_relative": float(relative.max()),
        "step_of_max": int(result["step"].values[relative.argmax()]),
        "median_replay_relative": float(np.median(relative)),
        "max_replay_error": float(result["replay_error"].max()),
        "clipped_steps": int((result["clip_factor"].values < 1).sum()),
    }
    write_csv(pd.DataFrame([row], columns=COLUMNS), output)
