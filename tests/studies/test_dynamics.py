"""Verdicts on the dynamics of pretraining, on series whose answer is plain."""

from __future__ import annotations

import numpy as np
import pytest

from explaind.studies import dynamics
from explaind.studies.finding import NOT_REPRODUCED, PARTLY, REPRODUCED
from tests.studies.made_updates import series

VERDICTS = {
    "two phases": (
        dynamics.mlp_first_attention_later,
        {"mlp1": [-3, -2, -2, -2], "attention": [-1, -1, -2, -3]},
        REPRODUCED,
    ),
    "attention first": (
        dynamics.mlp_first_attention_later,
        {"mlp1": [-1, -1, -1, -1], "attention": [-3, -3, -3, -2]},
        NOT_REPRODUCED,
    ),
    "attention shrinks": (
        dynamics.mlp_first_attention_later,
        {"mlp1": [-2, -2, -2, -9], "attention": [-1, -1, -1, -1]},
        PARTLY,
    ),
    "small embeddings": (
        dynamics.embeddings_are_small,
        {"mlp1": [-8] * 4, "inner": [1] * 4, "outer": [-1] * 4},
        REPRODUCED,
    ),
    "one large embedding": (dynamics.embeddings_are_small, {"mlp1": [-8] * 4, "outer": [-9] * 4}, PARTLY),
    "up and back": (
        dynamics.depth_moves,
        {"mlp1": [-9, -9, -1, -9], "mlp2": [-1, -1, -9, -1]},
        REPRODUCED,
    ),
    "down only": (dynamics.depth_moves, {"mlp1": [-1, -1, -5, -9], "mlp2": [-9, -9, -5, -1]}, PARTLY),
    "output turns": (
        dynamics.regularization_of_output_turns,
        {"regularization__outer": [-1, -1, 1, 2]},
        REPRODUCED,
    ),
    "output rises": (
        dynamics.regularization_of_output_turns,
        {"regularization__outer": [-2, -1, -1, -1]},
        PARTLY,
    ),
    "output falls": (
        dynamics.regularization_of_output_turns,
        {"regularization__outer": [2, 1, 1, 1]},
        NOT_REPRODUCED,
    ),
    "levels off": (dynamics.regularization_grows, {"regularization__outer": [1, 1, 4, 5]}, REPRODUCED),
    "falls at the end": (dynamics.regularization_grows, {"regularization__outer": [1, 1, 4, 2]}, PARTLY),
    "shrinks": (dynamics.regularization_grows, {"regularization__outer": [4, 4, 2, 1]}, NOT_REPRODUCED),
    "oscillates": (dynamics.momentum_oscillates, {"momentum__mlp1": [1, -1, 1, -1, 1, -1]}, REPRODUCED),
    "as often as by chance": (dynamics.momentum_oscillates, {"momentum__mlp1": [1, -1, 1, -1]}, PARTLY),
    "one turn": (dynamics.momentum_oscillates, {"momentum__mlp1": [1, 1, 1, -1]}, NOT_REPRODUCED),
    "steady": (dynamics.momentum_oscillates, {"momentum__mlp1": [-1, -1, -1, -1]}, NOT_REPRODUCED),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_verdicts(case: str) -> None:
    measure, given, expected = VERDICTS[case]
    more = (np.ones(4),) if measure is dynamics.regularization_grows else ()
    finding = measure(series(**given), *more)
    assert finding.verdict == expected, finding.measured
    assert finding.measured and finding.expected and finding.claim.endswith(".")


def test_the_learning_rate_is_divided_out() -> None:
    sizes = series(regularization__outer=[1, 1, 4, 1])
    assert dynamics.regularization_grows(sizes, np.array([1, 1, 1, 0.2])).verdict == REPRODUCED
    assert dynamics.regularization_grows(sizes, np.ones(4)).verdict == PARTLY
