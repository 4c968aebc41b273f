"""The influence is cut over updates, over test samples, or over both."""

from __future__ import annotations

import pytest

from explaind.config import compose
from explaind.config.cuts import cheapest
from explaind.config.graph import jobs_of
from explaind.errors import ConfigError


def names(*overrides: str) -> list[str]:
    jobs = jobs_of("influence", compose("grokking", "default", overrides))
    return ["{start}-{stop}/{tests_from}-{tests_to}".format(**job) for job in jobs]


def test_parts_are_named_by_what_they_hold() -> None:
    assert names()[:2] == ["000000-000500/000000-002000", "000500-001000/000000-002000"]
    assert len(names()) == 8
    chosen = ("influence.block=500", "execution.part_steps=3000", "execution.part_tests=1500")
    assert names(*chosen) == [
        "000000-003000/000000-001500", "000000-003000/001500-002000",
        "003000-004000/000000-001500", "003000-004000/001500-002000",
    ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 3, 4, 6, 16, 64])
def test_parts_cover_everything_once_and_are_no_more_than_asked_for(count: int) -> None:
    jobs = jobs_of(
        "influence", compose("grokking", "default", ["influence.block=500", f"execution.parts={count}"])
    )
    assert len(jobs) <= count
    seen = [
        (step, test)
        for job in jobs
        for step in range(int(job["start"]), int(job["stop"]), 1)
        for test in range(int(job["tests_from"]), int(job["tests_to"]), 500)
    ]
    assert len(seen) == len(set(seen)) == 4000 * 4


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (1, (1000, 2000)),
        (4, (1000, 500)),  # over test samples: nothing is written twice
        (3, (334, 2000)),  # blocks of test samples would not share out evenly
        (8, (500, 500)),
        (5000, (1, 500)),
    ],
)
def test_the_cheapest_cut_shares_the_work_out_and_then_writes_least(
    parts: int, expected: tuple[int, int]
) -> None:
    assert cheapest(parts, 1000, 2000, 500) == expected


def test_a_cut_through_a_block_is_refused() -> None:
    with pytest.raises(ConfigError, match="a multiple of the 2000"):
        compose("grokking", "default", ["execution.part_tests=300"])
    compose("grokking", "default", ["execution.part_tests=3000"])
