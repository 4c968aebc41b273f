"""Jobs forked from the process that has the libraries: several threads start and end them at once."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "workflow" / "warm.py"


@pytest.fixture
def warm() -> ModuleType:
    """The module: it lies beside the rules and not in the package."""
    spec = importlib.util.spec_from_file_location("warm", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_exit_statuses_are_told_apart_where_threads_end_jobs_at_once(warm: ModuleType) -> None:
    """Without the lock some of these jobs end with 255: another thread has read their status."""
    codes = [number % 3 for number in range(60)]
    with ThreadPoolExecutor(8) as threads:
        ended = list(
            threads.map(lambda code: warm.run_forked(exit, (code,), lambda pid: nullcontext()), codes)
        )
    assert ended == codes
