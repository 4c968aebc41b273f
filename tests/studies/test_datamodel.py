"""What data-level studies are made of: correlations and their intervals, subsets, fidelity, the choice of examples."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.stats
import torch

from explaind.errors import ConfigError
from explaind.studies import contributions
from explaind.studies.agreement import fidelity
from explaind.studies.datamodel import interval, rank_correlation
from explaind.studies.retrain import LEAVE_ONE_OUT, members

# Correlations.


@pytest.fixture
def scores() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """τ [N, T], subsets [M, size], measurements [M, T] that depend on τ, with ties."""
    generator = np.random.default_rng(0)
    tau = generator.normal(size=(30, 5))
    chosen = np.stack([generator.permutation(30)[:12] for _ in range(40)])
    measured = tau[chosen].sum(1) + 2 * generator.normal(size=(40, 5))
    return tau, chosen, np.round(measured)


def test_rank_correlation_is_spearmans_with_ties(scores: tuple) -> None:
    tau, chosen, measured = scores
    predicted = tau[chosen].sum(1)
    expected = [scipy.stats.spearmanr(predicted[:, i], measured[:, i]).statistic for i in range(5)]
    np.testing.assert_allclose(rank_correlation(predicted, measured), expected, rtol=1e-12)
    assert 0.3 < np.mean(expected) < 0.99
    np.testing.assert_allclose(rank_correlation(predicted, np.exp(predicted)), 1)
    np.testing.assert_allclose(rank_correlation(predicted, -predicted), -1)


def test_rank_correlation_is_the_librarys_lds(scores: tuple) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dattri.metric import lds

        tau, chosen, measured = scores
        expected, _ = lds(*map(torch.tensor, (tau,)), (torch.tensor(measured), torch.tensor(chosen)))
    np.testing.assert_allclose(rank_correlation(tau[chosen].sum(1), measured), expected.numpy(), rtol=1e-12)


def test_what_does_not_vary_has_no_correlation(scores: tuple) -> None:
    tau, chosen, measured = scores
    measured[:, 2] = 7.0
    found = rank_correlation(tau[chosen].sum(1), measured)
    assert np.isnan(found).tolist() == [False, False, True, False, False]


def test_the_interval_holds_the_mean_and_widens_with_fewer_subsets(scores: tuple) -> None:
    tau, chosen, measured = scores
    predicted = tau[chosen].sum(1)
    widths = []
    for count in (40, 20, 8):
        low, high = interval(predicted[:count], measured[:count], 300, 0)
        assert -1 <= low < rank_correlation(predicted[:count], measured[:count]).mean() < high <= 1
        widths.append(high - low)
    assert widths[0] < widths[1] < widths[2]
    assert interval(predicted, measured, 300, 0) == interval(predicted, measured, 300, 0)
    assert interval(predicted, predicted, 50, 0) == pytest.approx((1, 1))
    assert np.isnan(interval(predicted, None, 300, 0)).all()


# Subsets.


@pytest.mark.parametrize(("fraction", "size"), [("0.5", 48), ("0.25", 24), ("0.333", 32), ("0.001", 1)])
def test_subsets_have_their_size_and_differ(fraction: str, size: int) -> None:
    state = torch.get_rng_state()
    found = [members(96, fraction, number, 2025) for number in range(20)]
    assert torch.equal(torch.get_rng_state(), state)
    for chosen in found:
        assert len(chosen) == size
        assert torch.equal(chosen, torch.unique(chosen)), "rising, without repetition"
        assert 0 <= int(chosen.min()) <= int(chosen.max()) < 96
    if size > 1:
        assert len({tuple(chosen.tolist()) for chosen in found}) == 20


def test_a_subset_depends_on_its_number_fraction_and_seed_alone() -> None:
    found = {
        (fraction, number, seed): tuple(members(96, fraction, number, seed).tolist())
        for seed in (0, 1, 2025)
        for fraction in ("0.5", "0.25", "0.75")
        for number in (3, 0, 7)
    }
    assert len(set(found.values())) == 27
    for (fraction, number, seed), chosen in reversed(found.items()):
        assert tuple(members(96, fraction, number, seed).tolist()) == chosen
    assert tuple(members(96, "0.50", 3, 0).tolist()) == found["0.5", 3, 0]


def test_every_sample_is_in_about_as_many_subsets() -> None:
    counts = torch.zeros(40)
    for number in range(400):
        counts[members(40, "0.5", number, 1)] += 1
    assert 150 < int(counts.min()) <= int(counts.max()) < 250


def test_subsets_that_leave_one_out_leave_out_different_ones() -> None:
    missing = []
    for number in range(30):
        chosen = members(30, LEAVE_ONE_OUT, number, 5)
        assert len(chosen) == 29
        missing += sorted(set(range(30)) - set(chosen.tolist()))
    assert sorted(missing) == list(range(30))
    assert missing != sorted(missing), "drawn, not counted"
    with pytest.raises(ConfigError, match="fewer samples than subsets.*30 of 30"):
        members(30, LEAVE_ONE_OUT, 30, 5)


@pytest.mark.parametrize("fraction", ["0", "1", "1.5", "-0.5", "x", "nan", "", "leave-two-out"])
def test_other_fractions_are_refused(fraction: str) -> None:
    with pytest.raises(ConfigError, match="above 0 and below 1, or leave-one-out"):
        members(30, fraction, 0, 0)


# Small parts.


def test_identical_predictions_have_full_fidelity() -> None:
    outputs = np.log(np.random.default_rng(0).dirichlet(np.ones(4), size=6))
    assert fidelity(outputs, outputs) == {"agreement": 1.0, "kl": 0.0, "max_error": 0.0}


def test_fidelity_measures_each_difference() -> None:
    final = np.log(np.array([[0.5, 0.5], [0.9, 0.1]]))
    shifted = fidelity(final + 3, final)  # the same distributions
    assert shifted["agreement"] == 1
    assert shifted["kl"] == pytest.approx(0, abs=1e-12)
    assert shifted["max_error"] == pytest.approx(3)
    other = fidelity(np.log(np.array([[0.25, 0.75], [0.9, 0.1]])), final)
    assert other["agreement"] == 0.5
    assert other["kl"] == pytest.approx(scipy.stats.entropy([0.5, 0.5], [0.25, 0.75]) / 2)
    assert other["max_error"] == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("predicted", "count", "expected"),
    [
        ([0, 1, 9, 3, 9, 9], 4, [0, 1, 2, 4]),
        ([9, 9, 9, 3, 4, 5], 2, [0, 3]),
        ([0, 1, 2, 3, 4, 5], 4, [0, 1, 2, 3]),  # none is wrong
        ([0, 1, 9, 3, 4, 5], 5, [0, 1, 2, 3, 4]),  # one is
        ([0, 1, 2, 3, 4, 9], 1, [0]),
        ([0, 9, 9, 9, 9, 9], 3, [0, 1]),  # only one is right
    ],
)
def test_examples_are_half_right_and_half_wrong(
    predicted: list[int], count: int, expected: list[int]
) -> None:
    assert contributions.choose(np.arange(6), np.array(predicted), count) == expected
