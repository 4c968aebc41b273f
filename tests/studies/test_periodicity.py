"""The reduced Lasso equals scikit-learn's on all pairs, and finds a period that was put in."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Lasso

from explaind.errors import DataError
from explaind.studies.periodicity import difference_means, fit_periods, period_features

PERIODS = np.arange(2, 14)


def cosine(labels: np.ndarray, period: float) -> np.ndarray:
    return np.cos(2 * np.pi * np.subtract.outer(labels, labels) / period)


def test_reduction_equals_lasso_on_all_pairs():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 13, 30)
    noise = rng.normal(size=(30, 30))
    similarity = 0.4 * cosine(labels, 9) + 0.2 * cosine(labels, 4) + 0.1 * (noise + noise.T)
    difference = np.subtract.outer(labels, labels).ravel()
    plain = Lasso(alpha=0.01, fit_intercept=False, tol=1e-10, max_iter=1_000_000)
    plain.fit(period_features(difference, PERIODS), similarity.ravel())
    ours = fit_periods(similarity, labels, periods=PERIODS, alpha=0.01)
    np.testing.assert_allclose(ours.coefficient, plain.coef_, rtol=0, atol=1e-6)
    assert (plain.coef_ != 0).sum() >= 2, "a comparison of zeros would prove nothing"


@pytest.mark.parametrize("period", [5, 13])
def test_a_planted_cosine_is_found(period):
    labels = np.random.default_rng(1).integers(0, 13, 60)
    table = fit_periods(cosine(labels, period), labels, periods=PERIODS, alpha=1e-3)
    best = table.loc[table.coefficient.abs().idxmax()]
    assert (best.kind, best.period) == ("cos", period) and best.coefficient == pytest.approx(1, abs=0.02)


def test_noise_has_no_period():
    rng = np.random.default_rng(2)
    table = fit_periods(
        0.1 * rng.normal(size=(200, 200)), rng.integers(0, 13, 200), periods=PERIODS, alpha=1e-2
    )
    assert (table.coefficient == 0).all()


def test_sines_of_an_antisymmetric_matrix():
    labels = np.arange(13).repeat(3)
    similarity = np.sin(2 * np.pi * np.subtract.outer(labels, labels) / 13)
    table = fit_periods(similarity, labels, periods=PERIODS, alpha=1e-4)
    best = table.loc[table.coefficient.abs().idxmax()]
    assert (best.kind, best.period) == ("sin", 13)


def test_difference_means():
    differences, counts, means = difference_means(np.array([[1.0, 2.0], [4.0, 3.0]]), np.array([5, 7]))
    assert differences.tolist() == [-2, 0, 2] and counts.tolist() == [1, 2, 1] and means.tolist() == [2, 2, 4]


def test_a_missing_cosine_is_an_error():
    with pytest.raises(DataError, match="not finite"):
        fit_periods(np.full((3, 3), np.nan), np.arange(3), periods=PERIODS, alpha=0.1)
