"""Add the parts of a run's influence up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from explaind.attribution.accumulate import combine
from explaind.config.declarations import Stage
from explaind.store import read_dataset, write_dataset

__all__ = ["write"]

STAGE = Stage(requires="study.quadrature | study.windows", memory=2000, runtime=15)


def write(*, parts: Sequence[Path], output: Path) -> None:
    """Combine stores "influence-part" into one store "influence"; one of them is held at a time.

    Raises:
        StoreError: a part is damaged, parts overlap, leave a gap, or were made with different options.
    """
    combined = combine(read_dataset(path, kind="influence-part") for path in parts)
    write_dataset(combined, output, kind="influence")
