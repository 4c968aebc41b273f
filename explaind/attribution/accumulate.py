"""Add the parts of a run's influence up: signed influences sum, per-update importances line up.

Nothing here rounds in an order that the cut decides: whole quanta are added, and sums over blocks of test samples run in the
order of the blocks. So parts over updates, over test samples or over both give the same bits, in any order.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr

from explaind.attribution.exact_sums import check_reach, from_quanta
from explaind.errors import StoreError

SUMMED = ("kernel", "regularization")
ENDS = {"initial": "start", "final": "stop"}
MUST_AGREE = (
    "updates", "tests", "block", "target", "tolerance", "max_nodes", "fixed_nodes", "dtype", "run", "lineage", "algorithm",
    "replay_checked",
)  # fmt: skip


def combine(parts: Iterable[xr.Dataset]) -> xr.Dataset:
    """The influence of a run from parts (`explaind.attribution.part`) that cover its updates and test samples once.

    Their order does not matter, and each is let go before the next one is taken. The residual is what the summed parts miss of
    the exact change, f(final) − f(initial), in float64.

    Raises:
        StoreError: the parts leave a gap, overlap, or were made with different options.
        QueryError: their sum would leave the range in which it is exact.
    """
    total = _Total()
    for part in parts:
        if part.attrs["stop"] > part.attrs["start"]:
            total.add(part)
    return total.finish()


class _Total:
    """What has been added up so far."""

    def __init__(self) -> None:
        self._first: xr.Dataset | None = None  # labels and attributes that all parts share
        self._sums: dict[str, np.ndarray] = {}  # quanta, int64 [layer, test, output]
        self._ends: dict[str, np.ndarray] = {}  # [test, output]
        self._rows: list[xr.Dataset] = []  # by update and block
        self._covered = np.zeros((0, 0), dtype=np.int64)  # parts of every update and test sample
        self._count = 0

    def add(self, part: xr.Dataset) -> None:
        """One part that is not empty."""
        if self._first is None:
            self._begin(part)
        self._check(part)
        attrs = part.attrs
        steps, tests = slice(attrs["start"], attrs["stop"]), slice(attrs["tests_from"], attrs["tests_to"])
        taken = self._covered[steps, tests]
        if taken.any():
            s, test = np.argwhere(taken)[0]
            raise StoreError(
                "Two parts of the influence overlap.",
                expected="every update and test sample in one part",
                got=f"update {steps.start + s} and test sample {tests.start + test} in two",
                remedy="Pass no part twice, and the parts of one cut alone.",
            )
        self._covered[steps, tests] = 1
        for name, total in self._sums.items():
            total[:, tests] += part[name].transpose("layer", "test", "output").values
        for name, at in ENDS.items():
            if attrs[at] == (0 if at == "start" else attrs["updates"]):
                self._ends[name][tests] = part[name].transpose("test", "output").values
        self._rows.append(part.drop_dims(["test", "output"]))
        self._count += 1

    def finish(self) -> xr.Dataset:
        """Everything together."""
        if self._first is None:
            raise StoreError(
                "All parts of the influence are empty.", remedy="Record a run with at least one update."
            )
        if not self._covered.all():
            s, test = np.argwhere(self._covered == 0)[0]
            raise StoreError(
                "The parts of the influence do not cover the run.",
                expected="updates 0 to {} and test samples 0 to {}".format(*self._covered.shape),
                got=f"no part with update {s} and test sample {test}",
                remedy="Compute the missing part.",
            )
        result = _by_step(self._rows)
        outputs = self._first["output"].values
        tests = np.arange(self._covered.shape[1])
        result = result.assign_coords(test=tests, output=outputs)
        for name, values in self._ends.items():
            result[name] = (("test", "output"), values)
        for name, quanta in self._sums.items():
            result[name] = (("layer", "test", "output"), from_quanta(quanta))
        explained = sum(result[name].sum("layer") for name in self._sums)
        result["residual"] = (
            result["final"].astype(np.float64) - result["initial"].astype(np.float64) - explained
        )
        result.attrs = {**self._attrs(), **_summary(result)}
        return result

    def _begin(self, part: xr.Dataset) -> None:
        attrs = part.attrs
        self._first = part[["layer", "output"]].assign_attrs(attrs)
        self._covered = np.zeros((attrs["updates"], attrs["tests"]), dtype=np.int8)
        shape = (attrs["tests"], part.sizes["output"])
        self._sums = {name: np.zeros((part.sizes["layer"], *shape), dtype=np.int64) for name in SUMMED}
        self._ends = {name: np.full(shape, np.nan, dtype=part[name].dtype) for name in ENDS}

    def _check(self, part: xr.Dataset) -> None:
        first = self._first
        assert first is not None
        differing = [name for name in MUST_AGREE if first.attrs.get(name) != part.attrs.get(name)]
        if differing:
            raise StoreError(
                "The parts of the influence were made with different options.",
                expected=f"{differing[0]} = {first.attrs.get(differing[0])}",
                got=f"{part.attrs.get(differing[0])}",
                remedy="Compute all parts again with the same options.",
            )
        for axis in ("layer", "output"):
            if not first[axis].equals(part[axis]):
                raise StoreError(
                    f"The parts of the influence have different labels on the axis {axis!r}.",
                    expected=f"{first.sizes[axis]} labels, as in the other parts",
                    got=f"{part.sizes[axis]} in the part from update {part.attrs['start']}, or others",
                    remedy="Compute all parts again with the same groups and target.",
                )

    def _attrs(self) -> dict[str, object]:
        assert self._first is not None
        attrs = {
            name: value for name, value in self._first.attrs.items() if name not in ("tests_from", "tests_to")
        }
        worst = [row.attrs["replay_worst"] for row in self._rows if "replay_worst" in row.attrs]
        together = {"replay_worst": max(worst)} if worst else {}
        return {**attrs, "start": 0, "stop": attrs["updates"], "parts": self._count, **together}


def _by_step(rows: list[xr.Dataset]) -> xr.Dataset:
    """What is known of every update, summed over the blocks of test samples in their order; of errors, the largest."""
    blocks: dict[int, list[xr.Dataset]] = {}
    for row in rows:
        for block in row["block"].values:
            blocks.setdefault(int(block), []).append(row.sel(block=block, drop=True))
    several = [
        xr.concat(sorted(blocks[first], key=lambda one: int(one["step"][0])), "step", data_vars="minimal", join="exact")
        for first in sorted(blocks)
    ]  # fmt: skip
    check_reach(np.max([one["largest"].values for one in several], axis=0))
    result = several[0].drop_vars(["largest", "samples"])
    samples = [int(one["samples"].max()) for one in several]
    weighted = [one["nodes"] * count for one, count in zip(several, samples, strict=True)]
    result["nodes"] = _in_order(weighted) / sum(samples)
    result["quadrature_error"] = xr.concat([one["quadrature_error"] for one in several], "block").max("block")
    for name in [name for name in result if str(name).startswith("importance_")]:
        result[name] = _in_order([one[name] for one in several])
    return result


def _in_order(arrays: list[xr.DataArray]) -> xr.DataArray:
    """A sum in floating point, one after another from the first."""
    total = arrays[0]
    for array in arrays[1:]:
        total = total + array
    return total


def _summary(result: xr.Dataset) -> dict[str, float | int]:
    worst, tolerance = result["quadrature_error"], result.attrs.get("tolerance", np.inf)
    return {
        "nodes_mean": float(result["nodes"].mean()),
        "quadrature_error_worst": float(worst.max()),
    } | ({"updates_above_tolerance": int((worst > tolerance).sum())} if np.isfinite(tolerance) else {})
