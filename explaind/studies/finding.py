"""A finding: one claim, how it was measured, what came out, and a verdict that code reached."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

__all__ = ["COLUMNS", "NOT_REPRODUCED", "PARTLY", "REPRODUCED", "Finding", "verdict"]

#: Of a table with one row per claim about one run.
COLUMNS = ("figure", "claim", "measure", "measured", "expected", "verdict")
REPRODUCED, PARTLY, NOT_REPRODUCED = "reproduced", "partly reproduced", "not reproduced"


@dataclass(frozen=True)
class Finding:
    """One row of the table of findings.

    Attributes:
        figure: where the claim can be seen ("3a", "4", …).
        claim: the statement.
        measure: the exact definition of what was measured, thresholds included.
        measured: the values found, in words and numbers.
        expected: what the claim implies for the measure.
        verdict: one of `REPRODUCED`, `PARTLY`, `NOT_REPRODUCED`.
        value: the number that decides most, to be compared between runs; NaN where there is none.
    """

    figure: str
    claim: str
    measure: str
    measured: str
    expected: str
    verdict: str
    value: float = nan


def verdict(full: bool, partial: bool) -> str:
    """`REPRODUCED` if the whole claim holds, else `PARTLY` if a stated part of it does."""
    return REPRODUCED if full else PARTLY if partial else NOT_REPRODUCED
