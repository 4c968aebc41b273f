"""The claims about figure 3a on logits, from sampled curves with a planted answer, both ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from explaind.store.files import write_json
from explaind.tables import findings_logits

STEPS = np.arange(20, 2000, 40)
LAYERS = ("embedding", "att. encoder", "att. decoder", "linear 1", "linear 2", "decoder")


def verdicts(folder: Path, *, peak: float, excess: float) -> dict[str, str]:
    """Curves that peak at `peak` (share of the run) with B_reg = (1 + excess) B at the end."""
    time = STEPS / STEPS[-1]
    kernel = np.exp(-((time - peak) ** 2) / 0.08) + 0.01
    regularization = kernel * (0.5 + (0.5 + excess) * time)
    tables = [
        pd.DataFrame({"step": STEPS, "layer": name, "kernel": kernel, "regularization": regularization})
        for name in (*LAYERS, "all")
    ]
    pd.concat(tables).to_csv(folder / "logits.csv", index=False)
    accuracy = np.clip(np.arange(2000) / 1000, 0, 1)
    pd.DataFrame({"step": np.arange(2000), "train_accuracy": accuracy}).to_csv(folder / "m.csv", index=False)
    write_json({"memorization_step": 1000}, folder / "phases.json")
    paths = {"logits": folder / "logits.csv", "metrics": folder / "m.csv", "phases": folder / "phases.json"}
    findings_logits.write(**paths, output=folder / "findings.csv")
    found = pd.read_csv(folder / "findings.csv")
    assert set(found.figure) == {"3a, on logits"}
    return dict(zip(found.claim, found.verdict, strict=True))


@pytest.mark.parametrize(
    ("peak", "excess", "declines", "dominates"),
    [(0.6, 0.3, "reproduced", "reproduced"), (1.5, -0.3, "not reproduced", "not reproduced")],
)
def test_verdicts_follow_the_curves(
    peak: float, excess: float, declines: str, dominates: str, tmp_path: Path
) -> None:
    found = verdicts(tmp_path, peak=peak, excess=excess)
    assert found["Both influences peak near the same step and then decline."] == declines
    assert found["Regularization dominates at the end."] == dominates
