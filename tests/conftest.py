"""What tests of all packages share."""

from __future__ import annotations

import os

# Tests run side by side and their models are tiny: a second thread in each waits more than it works. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The workflow's long runs first, so that none of them is the last that everybody waits for."""
    items.sort(key=lambda item: item.get_closest_marker("smoke") is None)
