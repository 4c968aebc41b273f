"""What every stage asks a cluster for, as the table in docs/cluster.md."""

from __future__ import annotations

from explaind.config.declarations import Stage, figures, stages, tables
from explaind.config.jobs import JOBS

__all__ = ["requests_table"]

HEAD = (
    "| rule | one job for | threads | memory, first attempt (MB) | limit (min) | GPU | |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)


def requests_table() -> str:
    """One row per stage, in the order of their names, and one for all figures and tables."""
    products = [*figures().values(), *tables().values()]
    rows = [_row(name, stage) for name, stage in sorted(stages().items())]
    memory = _span(one.memory for one in products)
    rows.append(
        f"| figures, tables | each file | 1 | {memory} | {_span(one.runtime for one in products)} | | |"
    )
    return "\n".join([*HEAD, *rows])


def _row(name: str, stage: Stage) -> str:
    each = JOBS[stage.each].__doc__ if stage.each else "the experiment"
    threads = stage.threads if isinstance(stage.threads, int) else f"`{stage.threads}`"
    gpu = "`execution.gpu`" if stage.gpu else ""
    return f"| `{name}` | {each} | {threads} | {stage.memory:,} | {stage.runtime} | {gpu} | {stage.note} |"


def _span(values: object) -> str:
    numbers = sorted(set(values))  # type: ignore[call-overload]
    low, high = numbers[0], numbers[-1]
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"
