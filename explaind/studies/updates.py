"""All checkpoints' explained updates in one store, in the order of training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import xarray as xr

from explaind.config.declarations import Stage
from explaind.errors import DataError
from explaind.store import read_dataset, write_dataset

__all__ = ["write"]

STAGE = Stage(requires="checkpoints", memory=1500, runtime=10)

ATTRIBUTES = ("step", "lr", "notes")


def write(*, updates: Sequence[Path], output: Path) -> None:
    """Join stores "update" along `checkpoint`, as a store "updates".

    Args:
        updates: the stores, in the order of training.
        output: the store to write: every variable but the quadrature's, with a first axis `checkpoint` (its name), and `step`,
            `lr` and `notes` along it. `by_nodes` is NaN where fewer nodes were enough.
    """
    datasets = [read_dataset(path, kind="update").drop_dims("place") for path in updates]
    steps = [dataset.attrs["step"] for dataset in datasets]
    if any(later <= earlier for earlier, later in pairwise(steps)):
        raise DataError(
            "The checkpoints are not in the order of training.",
            expected="rising numbers of updates",
            got=", ".join(
                f"{dataset.attrs['checkpoint']}: {step}"
                for dataset, step in zip(datasets, steps, strict=True)
            ),
            remedy="Correct the order of checkpoints.revisions, or the numbers in the names of the folders.",
        )
    names = [dataset.attrs["checkpoint"] for dataset in datasets]
    attributes = {key: ("checkpoint", [dataset.attrs[key] for dataset in datasets]) for key in ATTRIBUTES}
    joined = xr.concat(
        datasets,
        xr.Variable("checkpoint", names),
        data_vars="all",
        coords="minimal",
        compat="equals",
        join="outer",
        combine_attrs="drop",
    )
    joined = joined.assign(attributes).assign_coords(checkpoint=names)
    write_dataset(joined.assign_attrs(tolerance=datasets[0].attrs["tolerance"]), output, kind="updates")
