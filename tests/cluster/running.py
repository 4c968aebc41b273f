"""Snakemake on the tests' Slurm, with the profile that users get."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.cluster.slurm import Slurm, wait_until
from tests.workflow.conftest import Project, copy_project

HERE = Path(__file__).parent
PROFILE = "workflow/profiles/slurm"
#: This cluster has no accounts, its file system is a local one, and its jobs take seconds.
SITE = ("--slurm-no-account", "--latency-wait", "5", "--slurm-init-seconds-before-status-checks", "2")
TOYS = "results/grokking/toys"


@dataclass
class Run:
    """A Snakemake that was started, and the cluster it submits to."""

    process: subprocess.Popen[bytes]
    log: Path
    slurm: Slurm

    def finish(self, *, status: int = 0, seconds: float = 900) -> str:
        """Wait for its end, with this status; the end of what it printed."""
        try:
            found = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise TimeoutError(
                f"Snakemake did not end within {seconds:g} s\n{self.text()}\n{self.slurm.state()}"
            ) from None
        assert found == status, f"status {found}, not {status}\n{self.text()}\n{self.slurm.state()}"
        return self.text()

    def interrupt(self, signal_: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(signal_)

    def text(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-6000:]


@dataclass
class Cluster:
    """A copy of the project with the toy workflow, on a Slurm."""

    slurm: Slurm
    project: Project
    runs: list[Run] = field(default_factory=list)

    @property
    def toys(self) -> Path:
        """Where the toy workflow writes."""
        return self.project.root / TOYS

    def start(self, *arguments: str, config: tuple[str, ...] = ("scale=smoke", "experiment=grokking")) -> Run:
        """Start Snakemake with the profile for Slurm."""
        log = self.project.root / f"snakemake-{len(list(self.project.root.glob('snakemake-*.log')))}.log"
        targets = [argument for argument in arguments if not argument.startswith("-") and "=" not in argument]
        options = [argument for argument in arguments if argument not in targets]
        command = ["--profile", PROFILE, *SITE, *options, "--config", *config, "--", *targets]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "snakemake", *command],
                cwd=self.project.root,
                env={**os.environ, "PYTHONPATH": str(self.project.root)},
                stdout=output,
                stderr=subprocess.STDOUT,
                # What a script starts in the background ignores interrupts, and so would this.
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            )
        self.runs.append(Run(process, log, self.slurm))
        return self.runs[-1]

    def clear(self) -> None:
        """End what a test that failed has left: first who would submit again, then the jobs; and its lock."""
        for run in self.runs:
            if run.process.poll() is None:
                run.process.kill()
                run.process.wait()
        self.runs.clear()
        self.slurm.cancel_all()
        shutil.rmtree(self.project.root / ".snakemake/locks", ignore_errors=True)

    def start_toys(self, *names: str, options: tuple[str, ...] = (), overrides: str = "") -> Run:
        """Start the toy jobs of these names ("long-a")."""
        config = ("scale=smoke", "experiment=grokking", *([f"overrides={overrides}"] if overrides else []))
        targets = [f"{TOYS}/{name}.json" for name in names]
        return self.start("--snakefile=toy.smk", *options, *targets, config=config)

    def release(self, *names: str) -> None:
        """Let toy jobs end."""
        for name in names:
            (self.toys / f"{name}.release").touch()

    def attempts(self, name: str) -> list[int]:
        """The memory (MB) of each time that a toy job has begun."""
        path = self.toys / f"{name}.begun"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def wait_for_attempts(self, name: str, count: int, seconds: float = 300) -> None:
        """Return when a toy job has begun so many times."""
        wait_until(
            lambda: len(self.attempts(name)) >= count,
            f"{name} to begin {count} times",
            seconds=seconds,
            state=self.slurm.state,
        )

    def seen(self, name: str) -> dict[str, Any]:
        """What a toy job wrote."""
        return dict(json.loads((self.toys / f"{name}.json").read_text()))


def make_cluster(slurm: Slurm, folder: Path) -> Cluster:
    """A fresh copy of the project, with the toy workflow in it."""
    project = copy_project(folder)
    shutil.copy2(HERE / "toy/toy.smk", folder / "toy.smk")
    shutil.copy2(HERE / "toy/toy.py", folder / "workflow/scripts/toy.py")
    return Cluster(slurm, project)


#: What differs between two runs of the same: records of times, and of how it was made.
OF_THE_RUN = (".lock", "logs", "benchmarks", "report.html", "tables/timings.csv", "report/timings.html")


REMEMBERED = "/replay/"
"""Files in which a query notes which updates it has rebuilt: which query came first is left to the scheduler."""


def results_of(folder: Path) -> dict[str, bytes]:
    """Every result below a folder, by its path: tables, stores and pictures, and no records of times."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in files}
    return {
        name: path.read_bytes()
        for name, path in named.items()
        if not name.startswith(OF_THE_RUN)
        and REMEMBERED not in name
        and path.suffix != ".pdf"
        and not name.endswith(".partial")
    }
