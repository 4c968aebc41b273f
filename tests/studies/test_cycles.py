"""Bands and cycles: shares of matrices whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from explaind.studies.cycles import band_shares, cycle_shares, describe_cycles

P = 23


@pytest.fixture
def labels():
    rng = np.random.default_rng(0)
    return rng.integers(0, P, 120), rng.integers(0, P, 150)


def test_bands():
    rng = np.random.default_rng(1)
    column = rng.normal(size=50)
    assert band_shares(np.tile(column, (40, 1))) == pytest.approx((1, 0), abs=1e-12)
    assert band_shares(np.tile(column, (40, 1)).T) == pytest.approx((0, 1), abs=1e-12)
    noise = rng.normal(size=(40, 50))
    assert band_shares(noise)[0] == pytest.approx(1 / 40, abs=0.01)
    mixed = np.sqrt(0.3) * column / column.std() + np.sqrt(0.7) * noise / noise.std()
    assert band_shares(mixed)[0] == pytest.approx(0.3, abs=0.06)
    assert np.isnan(band_shares(np.ones((3, 3)))).all()


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
