"""The claims about Figure 3a on curves for which the answer is known, once true and once false."""

from __future__ import annotations

import numpy as np
import pytest

from explaind.studies import growth
from explaind.studies.finding import NOT_REPRODUCED, PARTLY, REPRODUCED, verdict

T = 1000
STEPS = np.arange(T)


def bump(centre: float, width: float, height: float = 1.0) -> np.ndarray:
    return height * np.exp(-0.5 * ((STEPS - centre) / width) ** 2)


def rise(centre: float, width: float = 20.0) -> np.ndarray:
    return 1 / (1 + np.exp(-(STEPS - centre) / width))


def test_verdict():
    assert (
        verdict(True, True) == REPRODUCED
        and verdict(False, True) == PARTLY
        and verdict(False, False) == NOT_REPRODUCED
    )


def test_smooth_keeps_constants_and_means():
    np.testing.assert_allclose(growth.smooth(np.full(50, 3.0)), 3)
    np.testing.assert_allclose(growth.smooth(np.arange(50.0), 5)[5:45], np.arange(5, 45))
    assert growth.smooth(np.array([0.0, 0, 3, 0, 0]), 3).tolist() == [0, 1, 1, 1, 0]


@pytest.mark.parametrize(
    ("kernel", "regularization", "expected"),
    [
        (0.1 + bump(500, 100), 0.2 + bump(520, 100, 2), REPRODUCED),
        (0.1 + bump(500, 100), 0.3 + 0.2 * bump(600, 100), PARTLY),  # grows, but less than twice
        (0.1 + bump(500, 100), 1.0 - STEPS / T, NOT_REPRODUCED),
    ],
)
def test_grow_together(kernel, regularization, expected):
    finding = growth.grow_together(kernel, regularization, 250)
    assert finding.verdict == expected, finding


@pytest.mark.parametrize(
    ("kernel", "regularization", "expected"),
    [
        (0.1 + bump(500, 100), 0.1 + bump(560, 100), REPRODUCED),
        (0.1 + bump(400, 100), 0.1 + bump(700, 90), PARTLY),  # peaks apart
        (STEPS / T, STEPS / T, NOT_REPRODUCED),
    ],
)
def test_peak_and_decline(kernel, regularization, expected):
    finding = growth.peak_and_decline(kernel, regularization, 200)
    assert finding.verdict == expected, finding


@pytest.mark.parametrize(
    ("difference", "expected"),
    [(-0.1, REPRODUCED), (0.1, NOT_REPRODUCED), (-0.1 + 0.3 * (STEPS % 2), NOT_REPRODUCED)],
)
def test_regularization_dominates_end(difference, expected):
    kernel = np.ones(T)
    assert growth.regularization_dominates_end(kernel + difference, kernel).verdict == expected


def test_regularization_that_dominates_on_average_only_is_partly():
    kernel = 1 + np.where(STEPS % 2, 0.1, -0.3)
    assert growth.regularization_dominates_end(kernel, np.ones(T)).verdict == PARTLY


def layers(**curves: np.ndarray) -> dict[str, np.ndarray]:
    names = ("embedding", "att. encoder", "att. decoder", "linear 1", "linear 2", "decoder")
    return {name: curves.get(name.replace(". ", "_").replace(" ", "_"), 0.01 + 0 * STEPS) for name in names}


def test_decoder_leads_memorisation():
    assert growth.decoder_leads_memorisation(layers(decoder=0.1 + rise(300)), 200, 400).verdict == REPRODUCED
    assert (
        growth.decoder_leads_memorisation(layers(linear_1=0.1 + rise(300)), 200, 400).verdict
        == NOT_REPRODUCED
    )
    spike = layers(decoder=0.1 + 0 * STEPS, linear_1=bump(300, 10, 9))
    assert growth.decoder_leads_memorisation(spike, 200, 400).verdict == PARTLY


def test_decoder_second_peak():
    two = 0.05 + bump(300, 50) + bump(700, 50, 0.6)
    middle = {name: 0.01 + bump(550, 60) for name in ("att_encoder", "att_decoder", "linear_1", "linear_2")}
    assert growth.decoder_second_peak(layers(decoder=two, **middle), 150).verdict == REPRODUCED
    late = {**middle, "linear_2": 0.01 + bump(900, 30)}
    assert growth.decoder_second_peak(layers(decoder=two, **late), 150).verdict == PARTLY
    assert growth.decoder_second_peak(layers(decoder=bump(300, 50), **middle), 150).verdict == NOT_REPRODUCED
    rng = np.random.default_rng(0)
    noisy = layers(decoder=bump(300, 80) + 0.02 * rng.random(T), **middle)
    assert growth.decoder_second_peak(noisy, 150).verdict == NOT_REPRODUCED, "noise makes no peak"


def test_embedding_rises_late():
    others = {
        name: bump(400, 80) for name in ("att_encoder", "att_decoder", "linear_1", "linear_2", "decoder")
    }
    assert (
        growth.embedding_rises_late(layers(embedding=STEPS / T * rise(700), **others), 100).verdict
        == REPRODUCED
    )
    assert growth.embedding_rises_late(layers(embedding=bump(700, 60), **others), 100).verdict == PARTLY
    assert (
        growth.embedding_rises_late(layers(embedding=bump(200, 60), **others), 100).verdict == NOT_REPRODUCED
    )
