"""The same for small recordings, which make most of their updates again: some of the faulty runs, recorded with keep="replay"."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

import explaind
from tests.properties.faults import CASES, name_of
from tests.properties.loops import Loop
from tests.properties.outcomes import outcomes

EVERY = 12  # of the cases; all of them take as long as test_faults.py


@pytest.mark.parametrize("case", CASES[::EVERY], ids=name_of)
def test_no_answer_is_wrong_and_silent(
    case: tuple[type[Loop], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explaind, "record", partial(explaind.record, keep="replay", every=3))
    kind, seed = case
    found = outcomes(kind(seed), tmp_path)
    silent = [outcome for outcome in found if outcome.silent]
    assert not silent, "\n".join(map(str, silent))
    if kind.healthy:  # nothing is answered without the training samples
        odd = [
            outcome for outcome in found if outcome.verdict != "right" and "train=False" not in outcome.where
        ]
        assert not odd, "\n".join(map(str, odd))
