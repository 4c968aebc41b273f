"""Frequencies: planted cycles, equal labels and noise, against the definitions written out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from explaind.studies import geometry, profiles, spectrum
from explaind.studies.finding import NOT_REPRODUCED, PARTLY, REPRODUCED
from explaind.studies.frequencies import logit_power, row_power
from explaind.studies.spectra import fit_bases

P = 23
LABELS = np.random.default_rng(0).integers(0, P, 200)
DIFFERENCE = np.subtract.outer(LABELS, LABELS)


def fitted(similarity: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Coefficients on periods and on frequencies."""
    table = fit_bases(similarity, LABELS, P, periods=np.arange(2, P + 1), alpha=1e-3)
    return table[table.basis == "period"], table[table.basis == "frequency"]


def test_a_cycle_is_one_frequency_and_no_whole_period() -> None:
    periods, frequencies = fitted(0.5 + 0.4 * np.cos(2 * np.pi * 5 * DIFFERENCE / P))
    kept = frequencies[frequencies.coefficient.abs() > 1e-3]
    assert kept[["kind", "number"]].to_numpy().tolist() == [["cos", 5]]
    assert float(kept.coefficient.iloc[0]) == pytest.approx(0.4, abs=0.01)
    assert (periods.coefficient.abs() > 1e-2).sum() > 1, "23/5 is not a whole number of labels"
    assert geometry.few_frequencies(frequencies).verdict == REPRODUCED
    assert geometry.equal_labels_only(frequencies).verdict == NOT_REPRODUCED


def test_equal_labels_are_all_frequencies_at_once() -> None:
    _, frequencies = fitted((DIFFERENCE == 0).astype(float))
    cosines = frequencies[frequencies.kind == "cos"].coefficient
    assert len(cosines) == 11
    np.testing.assert_allclose(cosines, 2 / P, atol=0.012)
    assert geometry.equal_labels_only(frequencies).verdict == REPRODUCED
    assert geometry.few_frequencies(frequencies).verdict == NOT_REPRODUCED


def test_the_mean_costs_no_coefficient() -> None:
    cycle = 0.3 * np.cos(2 * np.pi * DIFFERENCE / P)
    for one, other in zip(fitted(cycle), fitted(cycle + 0.6), strict=True):
        np.testing.assert_allclose(one.coefficient, other.coefficient, atol=1e-6)


#: The numbers in the order of their cycle: as they are, and 1…22 as powers of the generator 5.
CYCLES = {"sums": np.arange(P), "products": np.array([pow(5, exponent, P) for exponent in range(P - 1)])}
on_each_cycle = pytest.mark.parametrize("numbers", CYCLES.values(), ids=CYCLES)


@on_each_cycle
def test_row_power_adds_up_to_the_variance(numbers: np.ndarray) -> None:
    rows, count = np.random.default_rng(1).normal(size=(P + 2, 4)), len(numbers)
    power, chosen = row_power(rows, numbers), rows[numbers]
    assert power.shape == (11,) and power.sum() == pytest.approx(((chosen - chosen.mean(0)) ** 2).sum())
    rows[numbers, 0] += 50 * np.cos(2 * np.pi * 7 * np.arange(count) / count)
    assert row_power(rows, numbers).argmax() + 1 == 7


@on_each_cycle
def test_logits_that_cycle_about_their_label(numbers: np.ndarray) -> None:
    count = len(numbers)
    places = np.arange(60) % count
    logits = np.full((60, P + 2), 7.0)
    distance = np.arange(count) - places[:, None]
    logits[:, numbers] = 3 * np.cos(2 * np.pi * 4 * distance / count)
    logits += 100 * places[:, None]  # a constant of each sample is no cycle
    power = logit_power(logits, numbers[places], numbers)
    assert power.argmax() + 1 == 4 and power[3] == pytest.approx(9 * count / 2)
    assert np.delete(power, 3).max() < 1e-12 * power[3]


def power_table(frequency: dict[int, int]) -> pd.DataFrame:
    """All power in one frequency at each step."""
    rows = [
        ("logits", s, k, 4.0 * (k == f), 1.0 * (k == f)) for s, f in frequency.items() for k in range(1, 12)
    ]
    return pd.DataFrame(rows, columns=["quantity", "step", "frequency", "power", "share"])


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        ({20: 7, 30: 4, 40: 2}, REPRODUCED),
        ({20: 9, 30: 11, 40: 9}, NOT_REPRODUCED),
        ({20: 11, 30: 11, 40: 8}, PARTLY),
    ],
)
def test_from_high_to_low(later: dict[int, int], expected: str) -> None:
    summary = spectrum.summarise(power_table({0: 1, 10: 9, **later}))
    assert tuple(summary.columns) == spectrum.SUMMARY and (summary.power == 4).all()
    assert (summary.effective_frequencies == 1).all()
    assert spectrum.moves_to_low(summary, "logits", since=10).verdict == expected


def test_noise_has_the_mean_frequency_of_noise() -> None:
    flat = pd.DataFrame(
        {"quantity": "w", "step": 0, "frequency": range(1, 12), "power": 2.0, "share": 1 / 11}
    )
    (row,) = spectrum.summarise(flat).itertuples()
    assert row.mean_frequency == pytest.approx((P + 1) / 4) and row.effective_frequencies == pytest.approx(11)


def test_a_profile_is_the_mean_of_the_pairs() -> None:
    matrix = np.random.default_rng(2).normal(size=(len(LABELS), len(LABELS)))
    np.fill_diagonal(matrix, 99)
    profile = profiles.difference_profile(matrix, LABELS, P)
    assert profile.difference.tolist() == list(range(-11, 12))
    for position, difference in ((3, -8), (11, 0), (20, 9)):
        values = [
            matrix[i, j]
            for i in range(len(LABELS))
            for j in range(len(LABELS))
            if i != j and (LABELS[i] - LABELS[j] - difference) % P == 0
        ]
        assert profile.mean[position] == pytest.approx(np.mean(values))
        assert profile.low[position] == pytest.approx(np.quantile(values, 0.1))
    low, high = profiles.offdiagonal_range(matrix)
    off = matrix[~np.eye(len(LABELS), dtype=bool)]
    assert ((off < low).mean(), (off > high).mean()) == pytest.approx((0.005, 0.005), abs=1e-3)
