"""Bands and cycles: shares of matrices whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from explaind.studies.cycles import band_share, cycle_shares, describe_cycles, log_size, same_label_share

P = 23


@pytest.fixture
def labels():
    rng = np.random.default_rng(0)
    return rng.integers(0, P, 120), rng.integers(0, P, 150)


def test_bands():
    rng = np.random.default_rng(1)
    column = rng.normal(size=50)
    assert band_share(np.tile(column, (40, 1))) == pytest.approx(1)
    assert band_share(np.tile(column, (40, 1)).T) == pytest.approx(0, abs=1e-12)
    noise = rng.normal(size=(40, 50))
    assert band_share(noise) == pytest.approx(1 / 40, abs=0.01)
    mixed = np.sqrt(0.3) * column / column.std() + np.sqrt(0.7) * noise / noise.std()
    assert band_share(mixed) == pytest.approx(0.3, abs=0.06)
    assert np.isnan(band_share(np.ones((3, 3))))


def test_samples_that_are_strong_with_either_sign_are_bands_of_the_size():
    rng = np.random.default_rng(1)
    signs = rng.choice([-1.0, 1.0], size=(200, 50))
    matrix = signs * np.exp(rng.normal(size=50))
    assert band_share(log_size(matrix)) == pytest.approx(1) and band_share(matrix) < 0.02
    assert log_size(np.array([[0.0, -2.0]])).tolist() == [[np.log(2)] * 2] and log_size(np.zeros((1, 1))) == 0


@pytest.mark.parametrize("frequency", [1, 4, 11])
def test_a_cycle_is_found_under_bands_and_noise(labels, frequency):
    rows, columns = labels
    rng = np.random.default_rng(2)
    wave = np.cos(2 * np.pi * frequency * np.subtract.outer(rows, columns) / P + 0.7)
    noise = rng.normal(size=wave.shape) * np.sqrt(0.5)  # as much variance as the wave
    shares = cycle_shares(wave + noise + 3 * rng.normal(size=150), rows, columns, P)
    found = describe_cycles(shares)
    assert found.frequency == frequency
    assert found.strongest_share == pytest.approx(0.5, abs=0.05)
    assert found.mean_frequency == pytest.approx(frequency, abs=0.7)


def test_noise_has_no_cycle(labels):
    rows, columns = labels
    shares = cycle_shares(np.random.default_rng(3).normal(size=(120, 150)), rows, columns, P)
    assert shares.shape == (11,) and shares.sum() < 0.01


def test_structure_in_sums_of_labels_is_not_a_cycle_in_differences(labels):
    rows, columns = labels
    shares = cycle_shares(np.cos(2 * np.pi * 3 * np.add.outer(rows, columns) / P), rows, columns, P)
    assert shares.sum() < 0.05


def test_equal_labels_are_no_cycle(labels):
    rows, columns = labels
    same = np.equal.outer(rows, columns).astype(float)
    assert same_label_share(same, rows, columns) == pytest.approx(1, abs=0.1)
    noise = np.random.default_rng(4).normal(size=same.shape)
    assert same_label_share(noise, rows, columns) < 0.01
    assert cycle_shares(same, rows, columns, P).sum() == pytest.approx(0, abs=1e-9)
    assert cycle_shares(5 * same + noise, rows, columns, P).sum() < 0.01


def test_bands_alone_have_no_cycles(labels):
    rows, columns = labels
    bands = np.tile(np.random.default_rng(4).normal(size=150), (120, 1))
    found = describe_cycles(cycle_shares(bands, rows, columns, P))
    assert found.share == 0 and np.isnan(found.mean_frequency)


def test_shares_do_not_depend_on_scale_order_or_offset(labels):
    rows, columns = labels
    matrix = np.random.default_rng(5).normal(size=(120, 150))
    expected = cycle_shares(matrix, rows, columns, P)
    order = np.random.default_rng(6).permutation(120)
    np.testing.assert_allclose(
        cycle_shares(5 - 1e3 * matrix[order], rows[order], columns, P), expected, rtol=1e-9
    )
