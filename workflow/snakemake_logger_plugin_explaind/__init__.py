"""What `make figures` says while it runs: every figure and table when it is there, jobs as a bar, failures with their reason.

A logger plugin of Snakemake, which finds it by the name of the module. All that Snakemake has to say about every job is in
.snakemake/log, whose path is named at the end.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from logging import LogRecord
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from explaind.planning.report import in_words

LAST_LINES = 3  # of a failed job's log
SAID = ("Nothing to be done", "Complete log")  # how those of Snakemake's remarks begin that are passed on
PRODUCTS = ("figures", "tables")  # folders of what is shown when it is made


@dataclass
class Job:
    """A job that was started."""

    name: str
    outputs: list[str]
    log: list[str]
    started: float


@dataclass
class Ahead:
    """What is left to do, in core seconds, and how long the jobs so far took against what was expected of them.

    Attributes:
        seconds: of every job that is to be done, by its first output.
        cores: that share them.
    """

    seconds: Mapping[str, float]
    cores: int
    done: set[str] = field(default_factory=set)
    expected: float = 0.0
    taken: float = 0.0

    def finish(self, outputs: list[str], seconds: float) -> None:
        """Count a job that took `seconds` on the clock."""
        for path in outputs:
            if path in self.seconds and path not in self.done:
                self.done.add(path)
                self.expected += self.seconds[path]
                self.taken += seconds

    def left(self) -> float:
        """Seconds on the clock, if the other jobs differ from the expectation as much as those so far, and no core idles."""
        pace = self.taken / self.expected if self.expected > 60 else 1.0
        return sum(s for path, s in self.seconds.items() if path not in self.done) * pace / self.cores


class LogHandler(LogHandlerBase):
    """Writes to standard error: lines, and on a terminal a bar below them."""

    writes_to_stream, writes_to_file = True, False
    has_filter = has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self._jobs: dict[int, Job] = {}
        self._failed: dict[str, str] = {}
        self._ahead: Ahead | None = None
        self._done = self._total = 0
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None

    def emit(self, record: LogRecord) -> None:
        """Show what a person wants to know of an event."""
        try:
            self._show(record, getattr(record, "event", None))
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Take the bar away, and name again what failed."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self._failed:
            self._say("Once the reasons are gone, the same command goes on from here.")
        for name, reason in self._failed.items():
            self._say(f"Failed: {name}\n{reason}")
        self._failed = {}
        super().close()

    def _show(self, record: LogRecord, event: LogEvent | None) -> None:
        facts = record.__dict__
        if event == LogEvent.RUN_INFO:
            self._total = int(facts["stats"]["total"]) if facts.get("stats") else 0
            self._say(f"{self._total} jobs.")
        elif event == LogEvent.JOB_INFO:
            self._start(facts, record.created)
        elif event == LogEvent.JOB_FINISHED:
            self._finish(self._jobs.pop(facts["job_id"], None), record.created)
        elif event == LogEvent.PROGRESS:
            self._done, self._total = facts["done"], facts["total"]
        elif event == LogEvent.JOB_ERROR:
            self._fail(facts)
        elif self._failed and record.levelno >= logging.ERROR:
            pass  # of jobs that failed, whose logs say more
        elif hasattr(record, "ahead"):
            self._ahead = Ahead(**facts["ahead"])
            self._say(record.getMessage())
        elif record.levelno >= logging.WARNING or str(record.msg).startswith(SAID):
            self._say(record.getMessage())
        self._draw()

    def _start(self, facts: Mapping[str, Any], now: float) -> None:
        wildcards = " ".join(str(value) for value in dict(facts["wildcards"] or {}).values())
        name = f"{facts['rule_name']} {wildcards}".strip()
        self._jobs[facts["jobid"]] = Job(name, list(facts["output"]), list(facts["log"]), now)

    def _finish(self, job: Job | None, now: float) -> None:
        if job is None:
            return
        self._done += 1
        if self._ahead is not None:
            self._ahead.finish(job.outputs, now - job.started)
        shown = [path for path in job.outputs if Path(path).parent.name in PRODUCTS]
        # Of a figure's two files the one that every viewer opens.
        shown = [path for path in shown if path.endswith(".png")] or shown
        if shown:
            self._say(f"{self._count()}  {', '.join(shown)}")
        elif not sys.stderr.isatty():
            self._say(f"{self._count()}  {job.name} ({in_words(now - job.started)})")

    def _fail(self, facts: Mapping[str, Any]) -> None:
        job = self._jobs.pop(facts["jobid"], None)
        name, logs = job.name if job else facts["rule_name"], list(facts["log"])
        texts = [Path(path).read_text(encoding="utf-8") for path in logs if Path(path).is_file()]
        lines = [line for text in texts for line in text.splitlines()]
        said = [f"    {line}" for line in lines if line.strip()][-LAST_LINES:]
        self._failed[name] = "\n".join([*said, f"    The whole log: {', '.join(logs)}"] if logs else said)
        self._say(f"Failed: {name}. What does not depend on it goes on.")

    def _count(self) -> str:
        width = len(str(self._total))
        return f"{time.strftime('%H:%M:%S')}  {self._done:>{width}} of {self._total}"

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def _draw(self) -> None:
        """The bar: how many jobs are done, what runs, and for how long yet."""
        if not sys.stderr.isatty() or not self._total:
            return
        if self._bar is None:
            columns = (MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=self._console)
            self._bar.add_task("", total=self._total)
            self._bar.start()
        running = ", ".join(job.name for job in self._jobs.values())
        left = f"about {in_words(self._ahead.left())} left; " if self._ahead else ""
        self._bar.update(
            self._bar.task_ids[0], completed=self._done, total=self._total, description=left + running
        )
