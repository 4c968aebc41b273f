"""The plan as text: a table of stages, totals, and the expected wall time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from explaind.planning.costs import GPU, Cost, costs_of, declared
from explaind.planning.jobs import Job, critical_path, in_order, left_to_do, read_record, wall_time

__all__ = ["COLUMNS", "compared", "comparison", "expectation", "in_words", "plan_text"]

COLUMNS = ("experiment", "stage", "jobs", "declared_seconds", "seconds", "factor", "costs", "max_memory_mb")
"""Of the comparison: what results/README.md describes."""
MORE_CORES = (8, 64)
"""For which the plan simulates the wall time as well."""
HEAD = ("experiment", "stage", "jobs", "core h", "GPU h", "memory MB", "disk MB", "costs")


def plan_text(jobs: Sequence[Job], configs: Mapping[str, Mapping[str, Any]], cores: int) -> str:
    """What is left to do of these jobs.

    Args:
        jobs: all that the request needs.
        configs: of its experiments.
        cores: that the wall time is for.
    """
    left = left_to_do(jobs)
    if not left:
        return f"Nothing is left to do: all {len(jobs)} jobs have their outputs."
    costs = costs_of(jobs, configs)
    seconds = {id(job): _clock(job, costs[id(job)], cores) for job in left}
    groups: dict[tuple[str, str], list[Job]] = {}
    order = {name: place for place, name in enumerate([*configs, ""])}
    for job in sorted(left, key=lambda one: order[one.experiment]):
        groups.setdefault((job.experiment, job.stage), []).append(job)
    rows = [(*key, *_numbers(some, costs)) for key, some in groups.items()]
    total = ("all", "", *_numbers(left, costs)[:-1], "")
    longest = critical_path(left, seconds)
    gpus = " with a GPU for each job that asks for one" if any(job.gpu for job in left) else ""
    return "\n".join(
        [
            f"{len(left)} of {len(jobs)} jobs are left to do.",
            "",
            *_aligned([HEAD, *rows, total]),
            "",
            f"Expected wall time on {cores} cores{gpus}: {in_words(wall_time(left, seconds, cores))}; "
            + "".join(f"on {n}: {in_words(wall_time(left, seconds, n))}; " for n in MORE_CORES if n > cores)
            + f"however many there are, at least {in_words(max(longest.values()))} (the critical path).",
            "costs: measured (the record of this job in benchmarks/), scaled (records of the stage's other jobs), declared (a "
            "rate measured at scale default or smoke), estimated (no rate was measured). Memory is measured where costs are, "
            "else what the job asks for; disk is before compression."
            + (f" A GPU is assumed to do the work of {GPU:.0f} cores." if gpus else ""),
            "Left to do is what lacks outputs. What changed options or code make stale: snakemake -n.",
        ]
    )


def expectation(
    jobs: Sequence[Job], configs: Mapping[str, Mapping[str, Any]], cores: int, outputs: Collection[str]
) -> tuple[str, dict[str, float]]:
    """How long jobs are going to take, as a sentence, and the core seconds of each by its first output.

    Args:
        jobs: all that a request needs, whose records say what such jobs cost.
        configs: of its experiments.
        cores: that the wall time is for.
        outputs: of the jobs that are to run; the others are done.
    """
    wanted = set(outputs)
    left = [job for job in in_order(jobs) if not wanted.isdisjoint(job.outputs)]
    costs = costs_of(jobs, configs)
    seconds = {id(job): _clock(job, costs[id(job)], cores) for job in left}
    total = sum(costs[id(job)].seconds for job in left)
    clock = in_words(wall_time(left, seconds, cores))
    sentence = f"Expected to take {clock} on {cores} cores ({in_words(total)} of one core)."
    return sentence, {job.outputs[0]: costs[id(job)].seconds for job in left}


def comparison(jobs: Sequence[Job], configs: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """One row of `COLUMNS` for every stage that has records: its declared costs beside what they were.

    Args:
        jobs, configs: as of `plan_text`.
    """
    groups: dict[tuple[str, str], list[tuple[float, str, float, float]]] = {}
    rows: list[tuple[str, ...]] = []
    for job in jobs:
        if (record := read_record(job.record)) is not None:
            cost = declared(job.stage, configs.get(job.experiment), job.wildcards)
            groups.setdefault((job.experiment, job.stage), []).append((*cost, *record))
    for key, found in sorted(groups.items()):
        expected, seconds = sum(one[0] for one in found), sum(one[2] for one in found)
        memories = [one[3] for one in found if one[3] == one[3]]
        costs = " and ".join(sorted({one[1] for one in found}))
        memory = f"{max(memories):.0f}" if memories else ""
        rows.append(
            (
                *key,
                str(len(found)),
                f"{expected:.1f}",
                f"{seconds:.1f}",
                f"{seconds / expected:.2f}",
                costs,
                memory,
            )
        )
    return rows


def compared(rows: Sequence[Sequence[str]]) -> str:
    """The comparison as text."""
    close = sum(0.5 <= float(row[5]) <= 2 for row in rows)
    return "\n".join(
        [
            *_aligned([COLUMNS, *rows]),
            "",
            f"{close} of {len(rows)} stages took between half and twice what was declared.",
        ]
    )


def _clock(job: Job, cost: Cost, cores: int) -> float:
    return cost.seconds / (job.gpu * GPU if job.gpu else min(job.threads, cores))


def _numbers(jobs: Sequence[Job], costs: Mapping[int, Cost]) -> tuple[str, ...]:
    chosen = [(job, costs[id(job)]) for job in jobs]
    core = sum(cost.seconds for job, cost in chosen if not job.gpu) / 3600
    gpu = sum(cost.seconds / GPU for job, cost in chosen if job.gpu) / 3600
    sources = sorted({cost.source for _, cost in chosen})
    memory, disk = max(cost.memory for _, cost in chosen), sum(cost.disk for _, cost in chosen)
    return (
        str(len(jobs)),
        f"{core:.3f}",
        f"{gpu:.3f}" if gpu else "",
        f"{memory:,.0f}",
        f"{disk:,.0f}",
        ", ".join(sources),
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    left = (0, 1, len(widths) - 1)
    lines = []
    for row in rows:
        cells = enumerate(zip(row, widths, strict=True))
        padded = (cell.ljust(width) if i in left else cell.rjust(width) for i, (cell, width) in cells)
        lines.append("  ".join(padded).rstrip())
    return lines


def in_words(seconds: float) -> str:
    """A duration as people say it: "1 h 45 min", "3 min 12 s", "8 s"."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
