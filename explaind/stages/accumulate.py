"""Add the parts of a run's influence up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from explaind.attribution.accumulate import combine
from explaind.config.declarations import Stage
from explaind.errors import StoreError
from explaind.store import read_dataset, write_dataset

__all__ = ["write"]

STAGE = Stage(requires="study.quadrature | study.windows", memory=2000, runtime=15)


def write(*, parts: Sequence[Path], output: Path) -> None:
    """Combine stores "influence-part" into one store "influence".

    Raises:
        StoreError: a part is damaged, parts overlap, leave a gap, or were made with different options.
    """
    combined = combine([read_dataset(path, kind="influence-part") for path in parts])
    covered, run = (combined.attrs["start"], combined.attrs["stop"]), (0, combined.attrs["updates"])
    if covered != run:
        raise StoreError(
            "The parts of the influence do not cover the run.",
            expected=f"updates {run[0]} to {run[1]}",
            got=f"{covered[0]} to {covered[1]}",
            remedy="Compute the missing part.",
        )
    write_dataset(combined, output, kind="influence")
