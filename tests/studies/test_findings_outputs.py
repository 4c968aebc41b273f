"""The claims for each choice of what is explained, from curves and matrices with a planted answer, both ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from explaind.config.studies import CHOICES
from explaind.store.files import write_json
from explaind.tables import findings_outputs

STEPS = np.arange(20, 2000, 40)
LAYERS = ("embedding", "att. encoder", "att. decoder", "linear 1", "linear 2", "decoder")
WINDOWS = ("early", "onset", "middle", "late")


def verdicts(folder: Path, *, peak: float, excess: float, similarity: float = 0.5) -> pd.DataFrame:
    """Curves that peak at `peak` (share of the run) with B_reg = (1 + excess) B at the end, for every choice but the last.

    The last choice has curves that only rise, equal coefficients on all frequencies, and no cycles.
    """
    time = STEPS / STEPS[-1]
    tables, matrices, coefficients = [], [], []
    for choice in CHOICES:
        last = choice == CHOICES[-1]
        kernel = time + 0.01 if last else np.exp(-((time - peak) ** 2) / 0.08) + 0.01
        regularization = kernel * (0.5 if last else 0.5 + (0.5 + excess) * time)
        for name in (*LAYERS, "all"):
            rows = {"step": STEPS, "layer": name, "kernel": kernel, "regularization": regularization}
            tables.append(pd.DataFrame({"choice": choice, **rows}))
        for kind in ("kernel", "similarity"):
            for layer in LAYERS:
                share = 0.0 if last or layer in LAYERS[:2] else similarity
                rows = {
                    "band_share": 0.5,
                    "signed_band_share": 0.1,
                    "cycle_share": np.array([0.01, 0.02, 0.5, 1]) * share,
                }
                rows |= {"frequency": [9, 9, 9, 4], "mean_frequency": [9.0, 9, 8, 5], "window": WINDOWS}
                matrices.append(pd.DataFrame({"choice": choice, "kind": kind, "layer": layer, **rows}))
        rows = {"kind": "cos", "number": range(1, 12), "coefficient": 0.02 if last else [0.3, *[0.0] * 10]}
        coefficients.append(pd.DataFrame({"choice": choice, "basis": "frequency", **rows}))
        rows = {"kind": "cos", "number": range(2, 13), "coefficient": 9.0}
        coefficients.append(pd.DataFrame({"choice": choice, "basis": "period", **rows}))
    columns = {"strongest_share": 0.5, "effective_frequencies": 2.0, "power": 1.0}
    power = [
        pd.DataFrame({"quantity": name, "step": [0, 1000, 2000], "strongest_frequency": course, "mean_frequency": course,
                      **columns})
        for name, course in (("down", [9, 8, 3]), ("up", [9, 3, 8]))
    ]  # fmt: skip
    frames = {"importances": tables, "structure": matrices, "spectra": coefficients, "frequencies": power}
    paths = {name: folder / f"{name}.csv" for name in frames}
    for name, parts in frames.items():
        pd.concat(parts).to_csv(paths[name], index=False)
    accuracy = np.clip(np.arange(2000) / 1000, 0, 1)
    pd.DataFrame({"step": np.arange(2000), "train_accuracy": accuracy}).to_csv(folder / "m.csv", index=False)
    write_json({"memorization_step": 1000}, folder / "phases.json")
    given = {**paths, "metrics": folder / "m.csv", "phases": folder / "phases.json"}
    findings_outputs.write(**given, output=folder / "findings.csv")
    return pd.read_csv(folder / "findings.csv", keep_default_na=False)


@pytest.mark.parametrize(
    ("peak", "excess", "declines", "dominates"),
    [(0.6, 0.3, "reproduced", "reproduced"), (1.5, -0.3, "not reproduced", "not reproduced")],
)
def test_verdicts_follow_the_curves(
    peak: float, excess: float, declines: str, dominates: str, tmp_path: Path
) -> None:
    found = verdicts(tmp_path, peak=peak, excess=excess)
    for choice, expected in ((CHOICES[0], declines), (CHOICES[1], declines), (CHOICES[2], "not reproduced")):
        of = found[found.choice == choice].set_index("claim").verdict
        assert of["Both influences peak near the same step and then decline."] == expected
        assert of["Regularization dominates at the end."] == (
            dominates if choice != CHOICES[2] else "not reproduced"
        )


def test_each_choice_has_its_own_geometry(tmp_path: Path) -> None:
    found = verdicts(tmp_path, peak=0.6, excess=0.3)
    comb = found[found.claim.str.contains("indicator of equal labels")].set_index("choice").verdict
    assert comb.to_dict() == {
        CHOICES[0]: "not reproduced",
        CHOICES[1]: "not reproduced",
        CHOICES[2]: "reproduced",
    }
    few = found[found.claim.str.startswith("Few frequencies")].set_index("choice").verdict
    assert few.to_dict() == {CHOICES[0]: "reproduced", CHOICES[1]: "reproduced", CHOICES[2]: "not reproduced"}
    cyclic = found[found.claim.str.startswith("Similarity is cyclic")].set_index("choice").verdict
    assert cyclic.to_dict() == {
        CHOICES[0]: "reproduced",
        CHOICES[1]: "reproduced",
        CHOICES[2]: "not reproduced",
    }


def test_frequencies_have_a_verdict_per_quantity(tmp_path: Path) -> None:
    found = verdicts(tmp_path, peak=0.6, excess=0.3)
    verdicts_of = found[found.choice == ""].set_index("claim").verdict
    for claim, expected in (
        ("moves", {"down.": "partly reproduced", "up.": "not reproduced"}),
        ("concentrates", {"down.": "not reproduced", "up.": "not reproduced"}),
    ):
        mine = verdicts_of[verdicts_of.index.str.contains(claim)]
        assert {name.split(": ")[1]: verdict for name, verdict in mine.items()} == expected
