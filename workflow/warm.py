"""Snakemake's command line, with jobs that start at once: each is forked from a process that has imported the libraries.

Python, torch and the tables' libraries take three seconds of a core to import, and a workflow of 250 jobs does it 250 times. What
a job does is the same, and so are its log, its exit status and its benchmark record, which counts the job alone. A cluster's jobs
start Python each: they run elsewhere.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from multiprocessing.connection import wait
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

FORKS = multiprocessing.get_context("forkserver")
#: Held while an exit status may be read. Snakemake runs jobs in threads, and starting a process polls those of all threads: two
#: readers of one status leave one of them at its end, which is read as a failure with status 255.
STATUS = threading.Lock()
#: What most jobs import. None of it starts a thread, which a fork would lose.
PRELOADED = (
    "torch._dynamo",  # functional gradients and optimizers import it
    "torch._decomp.decompositions_for_jvp",  # forward mode does
    "pandas",
    "zarr",
    "xarray",
    "scipy.stats",
    "scipy.signal",
    "matplotlib.pyplot",
    "threadpoolctl",
    "snakemake.script",
)


def run_script(script: str, environment: dict[str, str], threads: int) -> None:
    """What `python script` does, in a process that has the libraries."""
    import torch
    from threadpoolctl import threadpool_limits

    os.environ.update(environment)
    # Libraries read the number of threads when they are imported, and that was before the job.
    torch.set_num_threads(threads)
    threadpool_limits(threads)
    sys.argv, sys.path[0] = [script], str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")


def run_forked(
    target: Callable[..., None],
    arguments: tuple[Any, ...],
    observed: Callable[[int], AbstractContextManager[Any]],
) -> int:
    """Call `target` in a forked process, within `observed(its process id)`; its exit status. Threads may call this at once."""
    process = FORKS.Process(target=target, args=arguments)
    with STATUS:
        process.start()
    with observed(process.pid):
        wait([process.sentinel])  # until the status is there, without reading it
    with STATUS:
        process.join()
    return process.exitcode


def execute_script(self: Any, script: str, edit: bool = False) -> None:
    """In place of `PythonScript.execute_script`, which starts Python anew."""
    from snakemake.benchmark import benchmarked

    status = run_forked(
        run_script,
        (script, {"TMPDIR": self.resources["tmpdir"]}, self.threads),
        lambda pid: benchmarked(pid, self.bench_record) if self.bench_record is not None else nullcontext(),
    )
    if status:
        raise CalledProcessError(status, script)


if __name__ == "__main__":
    from snakemake.cli import main
    from snakemake.scheduling.job_scheduler import JobScheduler
    from snakemake.script import PythonScript

    FORKS.set_forkserver_preload(list(PRELOADED))
    PythonScript.execute_script = execute_script  # Snakemake has no setting for it
    # After every selection of jobs the scheduler looks again a second later, and again, beside the other clocks that it has
    # started so: after a hundred jobs that is an eighth of a core. Here the end of a job wakes it, and nothing else has to.
    JobScheduler._schedule_reevalutation = lambda self, delay: None
    main()
