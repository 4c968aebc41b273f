"""Add the parts of a run's influence up: signed influences sum, per-update importances line up."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import xarray as xr

from explaind.errors import StoreError

SUMMED = ("kernel", "regularization", "carried")
MUST_AGREE = (
    "target",
    "tolerance",
    "max_nodes",
    "fixed_nodes",
    "dtype",
    "run",
    "lineage",
    "algorithm",
    "replay_checked",
)


def combine(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """The sum of parts that cover a run without gap or overlap; their order does not matter.

    The residual is what the summed parts miss of the exact change, f(final) − f(initial), in float64.
    """
    filled = sorted(
        (part for part in parts if part.attrs["stop"] > part.attrs["start"]), key=lambda p: p.attrs["start"]
    )
    if not filled:
        raise StoreError(
            "All parts of the influence are empty.", remedy="Record a run with at least one update."
        )
    for before, after in itertools.pairwise(filled):
        if before.attrs["stop"] != after.attrs["start"]:
            raise StoreError(
                "The parts of the influence do not follow each other.",
                expected=f"a part that begins at update {before.attrs['stop']}",
                got=f"one that begins at {after.attrs['start']}",
                remedy="Compute the missing part, and pass no part twice.",
            )
        differing = [name for name in MUST_AGREE if before.attrs.get(name) != after.attrs.get(name)]
        if differing:
            raise StoreError(
                "The parts of the influence were made with different options.",
                expected=f"{differing[0]} = {before.attrs.get(differing[0])}",
                got=f"{after.attrs.get(differing[0])}",
                remedy="Compute all parts again with the same options.",
            )
        for axis in ("layer", "test", "output"):
            if axis in before.dims and not before[axis].equals(after[axis]):
                raise StoreError(
                    f"The parts of the influence have different labels on the axis {axis!r}.",
                    expected=f"{before.sizes[axis]} labels, as in the part from update {before.attrs['start']}",
                    got=f"{after.sizes[axis]} in the part from update {after.attrs['start']}, or others",
                    remedy="Compute all parts again with the same groups, test samples and target.",
                )
    first, last = filled[0], filled[-1]
    result = xr.concat(
        [part.drop_dims("test") for part in filled], dim="step", data_vars="minimal", join="exact"
    )
    for name in SUMMED:
        if name in first:
            result[name] = sum(part[name].astype(np.float64) for part in filled)
    result["initial"], result["final"] = first["initial"], last["final"]
    explained = sum(result[name].sum("layer") for name in SUMMED if name in result)
    result["residual"] = last["final"].astype(np.float64) - first["initial"].astype(np.float64) - explained
    result.attrs = {
        **first.attrs,
        "start": first.attrs["start"],
        "stop": last.attrs["stop"],
        "nodes_mean": float(result["nodes"].mean()),
        "quadrature_error_worst": float(result["quadrature_error"].max()),
        "parts": len(filled),
        **_replay(filled),
    }
    return result


def _replay(parts: Sequence[xr.Dataset]) -> dict[str, float | int]:
    """The replay errors of the parts, together."""
    attrs = [part.attrs for part in parts if "replay_worst" in part.attrs]
    if not attrs:
        return {}
    return {
        "replay_worst": max(each["replay_worst"] for each in attrs),
        "replay_undecided": max(each["replay_undecided"] for each in attrs),
        "replay_failed": max(each["replay_failed"] for each in attrs),
    }
