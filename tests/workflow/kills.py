"""Workflows that are killed at seeded moments, and what they must leave in the end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from explaind.store import canonical_json
from explaind.store.files import read_json
from tests.workflow.conftest import Project

PATIENCE = 600  # seconds without a new file: then the workflow hangs
#: What an interruption may change: times, logs, Snakemake's own marks, pictures and pages made of times.
TIMED = {
    "logs",
    "benchmarks",
    "timings.csv",
    "timings.html",
    "report.html",
    ".snakemake_timestamp",
    ".lock",
    "replay",
}


def interrupt(
    project: Project, targets: tuple[str, ...], config: tuple[str, ...], moments: Sequence[int]
) -> int:
    """Run targets to their end, although the workflow and its jobs are killed at each moment; how often they were.

    A moment is a number of files that have appeared since the last start, so that it lies within jobs and does not depend on
    how fast the machine is. SIGKILL and SIGTERM take turns, and go to all processes.
    """
    for number, files in enumerate(moments):
        kind = (signal.SIGKILL, signal.SIGTERM)[number % 2]
        if not _killed(project, targets, config, files, kind):
            return number
    last = project.run(*targets, "--rerun-incomplete", config=config)
    assert last.returncode == 0, last.stdout[-6000:]
    return len(moments)


def _killed(
    project: Project, targets: tuple[str, ...], config: tuple[str, ...], files: int, kind: signal.Signals
) -> bool:
    """One attempt, killed when so many files have appeared; False if it ended before. Nothing of it runs any more."""
    command = [
        sys.executable,
        "workflow/warm.py",
        *targets,
        "--cores",
        "2",
        "--rerun-incomplete",
        "--config",
        *config,
    ]
    environment = {**os.environ, "PYTHONPATH": str(project.root)}
    with (project.root / "attempt.txt").open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=project.root,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    known, new, moved = set(_files(project)), 0, time.monotonic()
    while process.poll() is None:
        now = set(_files(project))
        if now - known:
            new, known, moved = new + len(now - known), known | now, time.monotonic()
        assert time.monotonic() - moved < PATIENCE, (project.root / "attempt.txt").read_text()
        if new >= files:
            os.killpg(process.pid, kind)
            process.wait()
            break
        time.sleep(0.02)
    else:
        assert process.returncode == 0, (project.root / "attempt.txt").read_text()[-6000:]
        return False
    while _alive(process.pid):
        time.sleep(0.05)
    if list((project.root / ".snakemake/locks").glob("*")):
        unlocked = project.run("--unlock", config=config)
        assert unlocked.returncode == 0, unlocked.stdout
    return True


def _alive(group: int) -> bool:
    """Does a process of this group still run? One that has ended and that nobody has asked for does not."""
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def _files(project: Project) -> Iterator[Path]:
    """Files of results, as far as they stay where they are while they are listed."""
    for folder, _, names in os.walk(project.root / "results"):
        yield from (Path(folder, name) for name in names)


def kept(results: Path) -> dict[Path, bytes]:
    """The bytes of every table and store; pictures and pages are made of these. Of manifests, what they say: not the order."""
    files = (path for path in results.rglob("*") if path.is_file())
    named = {path.relative_to(results): path for path in files if path.suffix not in (".pdf", ".html")}
    return {
        name: canonical_json(read_json(path)).encode() if name.name == "manifest.json" else path.read_bytes()
        for name, path in named.items()
        if not TIMED & set(name.parts)
    }
