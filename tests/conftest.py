"""What tests of all packages share."""

from __future__ import annotations

import os

# Tests run side by side and their models are tiny: a second thread in each waits more than it works. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The workflow's long runs first, so that none of them is the last that everybody waits for.

    A cluster is started for who asks for one: these tests are left out of all others.
    """
    if "cluster" not in config.option.markexpr:
        unasked = [item for item in items if item.get_closest_marker("cluster")]
        config.hook.pytest_deselected(items=unasked)
        items[:] = [item for item in items if item not in unasked]
    items.sort(key=lambda item: item.get_closest_marker("smoke") is None)
