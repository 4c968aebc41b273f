"""The claims about exactness, once true and once false."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from explaind.studies import exactness
from explaind.studies.finding import NOT_REPRODUCED, PARTLY, REPRODUCED


@pytest.fixture
def terms():
    rng = np.random.default_rng(0)
    initial, final = rng.normal(size=(2, 50, 7))
    residual = 1e-4 * rng.normal(size=(50, 7))
    return {"initial": initial, "change": final - initial - residual, "residual": residual, "final": final}


def test_completeness(terms):
    assert exactness.completeness(**terms).verdict == REPRODUCED
    lost = {**terms, "change": terms["change"] + 0.01}
    assert exactness.completeness(**lost).verdict == NOT_REPRODUCED
    large = {
        **terms,
        "change": terms["change"] - 3 * terms["final"],
        "residual": terms["residual"] + 3 * terms["final"],
    }
    assert exactness.completeness(**large).verdict == PARTLY, (
        "the identity holds, but the residual carries the prediction"
    )


def test_recording_and_replay():
    assert exactness.recording_changes_nothing(True).verdict == REPRODUCED
    assert exactness.recording_changes_nothing(False).verdict == NOT_REPRODUCED
    checks = pd.DataFrame({"check": ["norms"] * 5 + ["gradients"] * 2, "relative": 1e-7, "accepted": 1e-3})
    assert exactness.updates_are_rebuilt(checks).verdict == REPRODUCED
    assert exactness.updates_are_rebuilt(checks.head(5)).verdict == NOT_REPRODUCED, "none was rebuilt"
    for row in (2, 6):
        wrong = checks.assign(relative=checks.relative.where(checks.index != row, 1e-2))
        assert exactness.updates_are_rebuilt(wrong).verdict == NOT_REPRODUCED


@pytest.mark.parametrize(
    ("memorised", "generalised", "expected"),
    [
        (100, 300, REPRODUCED),
        (100, 110, PARTLY),
        (100, None, PARTLY),
        (100, 90, NOT_REPRODUCED),
        (None, None, NOT_REPRODUCED),
    ],
)
def test_grokking(memorised, generalised, expected):
    metrics = pd.DataFrame({"step": np.arange(401), "train_accuracy": 1.0, "test_accuracy": 0.5})
    assert exactness.grokking(metrics, memorised, generalised).verdict == expected
