"""Jobs of a request as the plan sees them, and when list scheduling would run them."""

from __future__ import annotations

import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Job", "critical_path", "in_order", "left_to_do", "read_record", "wall_time"]


@dataclass(frozen=True)
class Job:
    """One job of the workflow.

    Attributes:
        stage: the stage, or "figures and tables".
        experiment: that it belongs to.
        wildcards: what distinguishes it from the stage's other jobs.
        inputs, outputs: its files.
        record: the file in which Snakemake keeps what it cost; None: there is none.
        threads: cores that it takes.
        gpu: GPUs that it takes.
        memory: MB that it asks for.
    """

    stage: str
    experiment: str
    wildcards: Mapping[str, str]
    inputs: Sequence[str]
    outputs: Sequence[str]
    record: str | None
    threads: int
    gpu: int
    memory: int


def in_order(jobs: Sequence[Job]) -> list[Job]:
    """The jobs in an order in which each comes after its inputs."""
    makers = {path: job for job in jobs for path in job.outputs}
    ordered: dict[int, Job] = {}
    seen: set[int] = set()

    def visit(job: Job) -> None:
        if id(job) not in seen:
            seen.add(id(job))
            for path in job.inputs:
                if path in makers:
                    visit(makers[path])
            ordered[id(job)] = job

    for job in jobs:
        visit(job)
    return list(ordered.values())


def left_to_do(jobs: Sequence[Job]) -> list[Job]:
    """The jobs that lack an output, or an input that is to be made again; in an order in which each comes after its inputs."""
    missing: set[str] = set()  # files that are to be made
    left = []
    for job in in_order(jobs):
        if not missing.isdisjoint(job.inputs) or not all(Path(path).exists() for path in job.outputs):
            missing.update(job.outputs)
            left.append(job)
    return left


def critical_path(jobs: Sequence[Job], seconds: Mapping[int, float]) -> dict[int, float]:
    """Of each job the seconds from its beginning to the end of all that waits for it; the largest is the critical path.

    Args:
        jobs: in an order in which each comes after its inputs.
        seconds: of every job, by its `id`.
    """
    makers = {path: job for job in jobs for path in job.outputs}
    after: dict[int, float] = {id(job): 0.0 for job in jobs}
    for job in reversed(jobs):
        length = seconds[id(job)] + after[id(job)]
        for maker in {id(makers[path]) for path in job.inputs if path in makers}:
            after[maker] = max(after[maker], length)
    return {key: seconds[key] + rest for key, rest in after.items()}


def wall_time(jobs: Sequence[Job], seconds: Mapping[int, float], cores: int) -> float:
    """Seconds until all jobs are done on so many cores: whenever cores are free, the job with the longest way to go starts.

    Args:
        jobs, seconds: as of `critical_path`.
        cores: a job that wants more gets all of them.
    """
    makers = {path: job for job in jobs for path in job.outputs}
    urgent = critical_path(jobs, seconds)
    waits = {id(job): {id(makers[path]) for path in job.inputs if path in makers} for job in jobs}
    ready = [job for job in jobs if not waits[id(job)]]
    running: list[tuple[float, int, Job]] = []
    now, free = 0.0, cores
    while ready or running:
        for job in sorted(ready, key=lambda one: -urgent[id(one)]):
            wanted = min(job.threads, cores)
            if wanted <= free:
                free -= wanted
                ready.remove(job)
                heapq.heappush(running, (now + seconds[id(job)], id(job), job))
        now, _, done = heapq.heappop(running)
        free += min(done.threads, cores)
        for job in jobs:
            if id(done) in waits[id(job)]:
                waits[id(job)].discard(id(done))
                if not waits[id(job)]:
                    ready.append(job)
    return now


def read_record(path: Path | str | None) -> tuple[float, float] | None:
    """CPU seconds (of the clock, where the job was too short for that) and peak memory (MB, or NaN) of a job's last record."""
    if path is None or not Path(path).is_file():
        return None
    lines = [line for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        return None
    record = json.loads(lines[-1])
    clock, cpu, memory = (_number(record.get(name)) for name in ("s", "cpu_time", "max_rss"))
    return (cpu if cpu > 0 else clock), memory


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # "NA"
        return float("nan")
