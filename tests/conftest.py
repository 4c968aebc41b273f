"""What tests of all packages share."""

from __future__ import annotations

import os

# Tests run side by side and their models are tiny: a second thread in each waits more than it works. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The workflow's long runs first, so that none of them is the last that everybody waits for; the longest on request."""
    if "kill" not in config.getoption("markexpr"):
        items[:] = [item for item in items if item.get_closest_marker("kill") is None]
    items.sort(key=lambda item: item.get_closest_marker("smoke") is None)
