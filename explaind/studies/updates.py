"""All checkpoints' explained updates in one store, in the order of training."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import xarray as xr

from explaind.config.declarations import Stage
from explaind.errors import DataError
from explaind.store import read_dataset, write_dataset

__all__ = ["write"]

STAGE = Stage(options=("name",), requires="checkpoints", memory=1500, runtime=10)

ATTRIBUTES = ("step", "lr", "seconds", "notes")


def write(config: Mapping[str, Any], *, updates: list[Path], output: Path) -> None:
    """Join stores "update" along `checkpoint`, as a store "updates".

    Args:
        config: not used.
        updates: the stores, in the order of training.
        output: the store to write: every variable but the quadrature's, with a first axis `checkpoint` (its name), and `step`,
            `lr`, `seconds` and `notes` along it. `by_nodes` is NaN where fewer nodes were enough.
    """
    found = [read_dataset(path, kind="update").drop_dims("place") for path in updates]
    steps = [dataset.attrs["step"] for dataset in found]
    if any(later <= earlier for earlier, later in pairwise(steps)):
        raise DataError(
            "The checkpoints are not in the order of training.",
            expected="rising numbers of updates",
            got=", ".join(
                f"{dataset.attrs['checkpoint']}: {step}" for dataset, step in zip(found, steps, strict=True)
            ),
            remedy="Correct the order of checkpoints.revisions, or the numbers in the names of the folders.",
        )
    names = [dataset.attrs["checkpoint"] for dataset in found]
    attributes = {key: ("checkpoint", [dataset.attrs[key] for dataset in found]) for key in ATTRIBUTES}
    together = xr.concat(
        found,
        xr.Variable("checkpoint", names),
        data_vars="all",
        coords="minimal",
        compat="equals",
        join="outer",
        combine_attrs="drop",
    )
    together = together.assign(attributes).assign_coords(checkpoint=names)
    write_dataset(together.assign_attrs(tolerance=found[0].attrs["tolerance"]), output, kind="updates")
