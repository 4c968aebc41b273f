"""The claims about kernels, similarities and the Lasso on tables for which the answer is known, both ways."""

from __future__ import annotations

import pandas as pd
import pytest

from explaind.studies import geometry
from explaind.studies.finding import NOT_REPRODUCED, PARTLY, REPRODUCED

WINDOWS = ("early", "onset", "middle", "late")


def structure(kind: str = "kernel", layer: str = "decoder", **columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"kind": kind, "layer": layer, "window": WINDOWS, **columns})


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([0.5, 0.4, 0.3, 0.2], REPRODUCED),
        ([0.5, 0.4, 0.3, 0.02], PARTLY),
        ([0.01, 0.02, 0.01, 0.0], NOT_REPRODUCED),
    ],
)
def test_bands_always(shares, expected):
    assert geometry.bands_always(structure(band_share=shares, signed_band_share=shares)).verdict == expected


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([0.01, 0.02, 0.2, 0.4], REPRODUCED),
        ([0.1, 0.1, 0.5, 0.3], PARTLY),
        ([0.4, 0.3, 0.2, 0.1], NOT_REPRODUCED),
    ],
)
def test_cycles_appear(shares, expected):
    assert geometry.cycles_appear(structure(cycle_share=shares)).verdict == expected


@pytest.mark.parametrize(
    ("frequency", "mean", "expected"),
    [
        ([9, 9, 8, 3], [9, 9, 8, 4], REPRODUCED),
        ([9, 9, 3, 3], [9, 9, 8, 4], PARTLY),
        ([1, 2, 3, 4], [1, 2, 3, 4], NOT_REPRODUCED),
    ],
)
def test_cycles_slow_down(frequency, mean, expected):
    assert geometry.cycles_slow_down(structure(frequency=frequency, mean_frequency=mean)).verdict == expected


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ((0.01, 0.02, 0.5, 0.3, 0.4, 0.6), REPRODUCED),
        ((0.01, 0.02, 0.05, 0.3, 0.4, 0.6), PARTLY),
        ((0.9, 0.02, 0.5, 0.3, 0.4, 0.6), PARTLY),
        ((0.01, 0.02, 0.05, 0.03, 0.04, 0.06), NOT_REPRODUCED),
    ],
)
def test_higher_layers_cyclic(shares, expected):
    names = ("embedding", "att. encoder", "att. decoder", "linear 1", "linear 2", "decoder")
    table = pd.concat(
        [structure("similarity", n, cycle_share=[0, 0, 0, s]) for n, s in zip(names, shares, strict=True)]
    )
    assert geometry.higher_layers_cyclic(table).verdict == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("cos", 113, 0.11), ("cos", 76, 0.008), ("sin", 5, 0.001)], REPRODUCED),
        ([("cos", 56, 0.05), ("cos", 57, 0.05), ("cos", 9, 0.02)], PARTLY),  # one cycle of period 56.5
        ([("cos", 113, 0.05), ("cos", 9, 0.04), ("cos", 5, 0.03)], NOT_REPRODUCED),
        ([("sin", 113, 0.9), ("cos", 9, 0.04)], NOT_REPRODUCED),
        ([("cos", 113, -0.9), ("cos", 9, 0.04)], PARTLY),
        ([("cos", 113, 0.0), ("cos", 9, 0.0)], NOT_REPRODUCED),
    ],
)
def test_one_cosine_dominates(rows, expected):
    table = pd.DataFrame(rows, columns=["kind", "period", "coefficient"])
    finding = geometry.one_cosine_dominates(table, 113)
    assert finding.verdict == expected, finding
