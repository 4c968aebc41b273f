"""What tests of all packages share."""

from __future__ import annotations

import os

# Tests run side by side and their models are tiny: a second thread in each waits more than it works. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

#: Markers of tests that run when they are named with -m alone.
ON_REQUEST = ("cluster", "kill")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The workflow's long runs first, so that none of them is the last that everybody waits for.

    What starts a cluster, or takes longest, is for who asks for it: these tests are left out of all others.
    """
    asked = config.getoption("markexpr")
    unasked = [
        item
        for item in items
        if any(item.get_closest_marker(name) and name not in asked for name in ON_REQUEST)
    ]
    config.hook.pytest_deselected(items=unasked)
    items[:] = [item for item in items if item not in unasked]
    items.sort(key=lambda item: item.get_closest_marker("smoke") is None)
