"""Locks: one holder at a time, who is named, and none is left by a process that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from explaind.errors import DataError, StoreError
from explaind.runtime.advice import advice
from explaind.runtime.locks import hold_folder, hold_log

HOLDER = """
import sys, time
from pathlib import Path
from explaind.runtime.locks import hold_folder
held = hold_folder(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(StoreError, match=rf"Another workflow writes.*Got: process {holder.pid} of .* on "):
        hold_folder(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    with hold_folder(tmp_path):
        assert f"process {os.getpid()} " in (tmp_path / ".lock").read_text()


def test_a_job_that_still_runs_is_not_run_twice(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    log.write_text("of an earlier attempt\n")
    with log.open("a") as first, log.open("a") as second:
        hold_log(first)
        first.write("of this one\n")
        first.flush()
        with pytest.raises(StoreError, match="Another process still does this job"):
            hold_log(second)
    assert log.read_text() == "of this one\n"


def test_the_command_for_a_damaged_input_is_said() -> None:
    inputs = ["results/a/run.zarr", "results/a/run.zarr.json"]
    damaged = StoreError("results/a/run.zarr/c/0 is damaged", remedy="write it again")
    assert advice(damaged, inputs).endswith(
        "Remedy: write it again. In the workflow: snakemake --cores 2 --forcerun results/a/run.zarr, "
        "with the options of this call."
    )
    for other in (StoreError("results/b is damaged"), DataError("results/a/run.zarr is odd")):
        assert advice(other, inputs) == str(other)
