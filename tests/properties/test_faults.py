"""No answer is both wrong and silent: faulty runs of many kinds, drawn at random, held to what really happened.

"Wrong" is a deviation from the float64 definition, computed from an independent tape of the training (truth.py). "Silent" means
that neither the recording, nor the question, nor the certificate says anything. Healthy runs must be answered, and rightly.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.properties.faults import CASES, KINDS, name_of
from tests.properties.loops import Loop
from tests.properties.outcomes import outcomes


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_no_answer_is_wrong_and_silent(case: tuple[type[Loop], int], tmp_path: Path) -> None:
    kind, seed = case
    found = outcomes(kind(seed), tmp_path)
    silent = [outcome for outcome in found if outcome.silent]
    assert not silent, "\n".join(map(str, silent))
    if kind.healthy:
        assert all(outcome.verdict == "right" for outcome in found), "\n".join(map(str, found))


def test_there_are_enough_cases_of_both_sorts() -> None:
    assert len(KINDS) >= 130
    assert len({name_of(case) for case in CASES}) == len(CASES)
    assert sum(kind.healthy for kind in KINDS) >= 20
