"""How the influence of a run is cut into parts: over its updates, over the test samples, or over both.

Every part walks over its updates once for each of its blocks of test samples (`influence.block`): a cut costs no work twice, and
decides how long the longest part takes and how much is written. Parts over test samples share the result out, while
each part over updates holds a whole one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Cut", "cheapest", "cut", "ranges"]

Config = Mapping[str, Any]
Cut = tuple[int, int]
"""Updates and test samples of one part."""


def cut(config: Config) -> Cut:
    """Of an experiment with `influence.tests`: the cheapest for `execution.parts`, or as `part_steps` and `part_tests` say."""
    execution, influence = config["execution"], config["influence"]
    if execution["parts"] is None:
        return execution["part_steps"], execution["part_tests"] or influence["tests"]
    return cheapest(execution["parts"], config["train"]["max_steps"], influence["tests"], influence["block"])


def cheapest(parts: int, steps: int, tests: int, block: int) -> Cut:
    """The cut into at most `parts` parts whose longest one is shortest; of equals, the one that writes least.

    Args:
        parts: at most.
        steps: updates at most; the run may stop earlier, which empties parts over updates, not those over test samples.
        tests, block: test samples, and those that are evaluated together and stay in one part.
    """
    blocks = -(-tests // block)
    costs = {}
    for over_tests in range(1, min(parts, blocks) + 1):
        over_steps = min(parts // over_tests, steps)
        of_steps, of_tests = -(-steps // over_steps), min(tests, -(-blocks // over_tests) * block)
        written = len(ranges(steps, of_steps)) * tests
        costs[of_steps, of_tests] = (of_steps * of_tests, written)
    return min(costs, key=costs.__getitem__)


def ranges(count: int, size: int) -> list[tuple[int, int]]:
    """[0, count) cut into ranges of at most `size`."""
    return [(start, min(start + size, count)) for start in range(0, count, size)]
