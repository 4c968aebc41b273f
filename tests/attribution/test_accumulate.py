"""Parts of a run's influence add up, or are refused: a gap, an overlap, other options, other labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from explaind.attribution.accumulate import combine
from explaind.attribution.exact_sums import LIMIT, QUANTUM
from explaind.errors import QueryError, StoreError
from explaind.stages import accumulate
from explaind.store import read_dataset, write_dataset

LAYERS, UPDATES, TESTS, BLOCK, OUTPUTS = ["one", "two"], 6, 4, 2, 2
GENERATOR = np.random.default_rng(0)
VALUES = GENERATOR.normal(size=(UPDATES + 1, TESTS, OUTPUTS))  # f at θ_0 … θ_6


def make_part(
    start: int,
    stop: int,
    first: int = 0,
    last: int = TESTS,
    *,
    layers: list[str] | None = None,
    largest: float = 1.0,
    **attrs: object,
) -> xr.Dataset:
    """A part as the stage writes it: signed sums over its updates in quanta, importances of each by block."""
    layers = layers or LAYERS
    steps, blocks = np.arange(start, stop), np.arange(first, last, BLOCK)
    quanta = np.full((len(layers), last - first, OUTPUTS), round((stop - start) / QUANTUM), dtype=np.int64)
    by_block = np.broadcast_to(1.0 * steps, (len(blocks), len(steps)))
    return xr.Dataset(
        {
            "kernel": (("layer", "test", "output"), quanta),
            "regularization": (("layer", "test", "output"), -quanta // 2),
            "initial": (("test", "output"), VALUES[start, first:last].copy()),
            "final": (("test", "output"), VALUES[stop, first:last].copy()),
            "importance_kernel": (("block", "step", "layer"), np.repeat(by_block[..., None], len(layers), 2)),
            "nodes": (("block", "step"), 1 + by_block),
            "quadrature_error": (("block", "step"), by_block / 100 + blocks[:, None]),
            "largest": (("block", "step"), np.full_like(by_block, largest)),
            "samples": ("block", [min(BLOCK, last - block) for block in blocks]),
            "replay_relative": ("step", steps / 1000),
        },
        coords={
            "step": steps, "layer": layers, "block": blocks, "test": np.arange(first, last), "output": np.arange(OUTPUTS),
        },
        attrs={
            "start": start, "stop": stop, "tests_from": first, "tests_to": last, "updates": UPDATES, "tests": TESTS,
            "block": BLOCK, "target": "output", "tolerance": 0.01, "fixed_nodes": 0, "dtype": "float32",
            "run": "trajectory.zarr", "lineage": "update", "algorithm": "forward", "replay_worst": stop / 1000, **attrs,
        },
    )  # fmt: skip


def empty(start: int) -> xr.Dataset:
    return xr.Dataset(attrs={"start": start, "stop": start})


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 2, 0)])
def test_parts_add_up(order: tuple[int, ...]) -> None:
    parts = [make_part(0, 2), make_part(2, 6, 0, 2), make_part(2, 6, 2, 4), empty(8)]
    total = combine(parts[i] for i in order)
    assert (total.attrs["start"], total.attrs["stop"], total.attrs["parts"]) == (0, 6, 3)
    assert total.attrs["nodes_mean"] == pytest.approx(3.5)
    assert total.attrs["quadrature_error_worst"] == pytest.approx(2.05)
    assert total.attrs["updates_above_tolerance"] == 6
    assert total.attrs["replay_worst"] == 0.006
    assert total.step.values.tolist() == [0, 1, 2, 3, 4, 5]
    assert (total.kernel == 6.0).all() and total.kernel.dtype == np.float64
    assert (total.regularization == -3.0).all()
    assert total.importance_kernel.sel(layer="two").values.tolist() == [0, 2, 4, 6, 8, 10], "of both blocks"
    assert total.replay_relative.values.tolist() == [0, 0.001, 0.002, 0.003, 0.004, 0.005]
    np.testing.assert_array_equal(total.initial, VALUES[0])
    np.testing.assert_array_equal(total.final, VALUES[6])
    complete = total.initial + (total.kernel + total.regularization).sum("layer") + total.residual
    np.testing.assert_allclose(complete, total.final, atol=1e-15)


REFUSED = {
    "updates missing": ([make_part(0, 2), make_part(3, 6)], "no part with update 2 and test sample 0"),
    "test samples missing": ([make_part(0, 2), make_part(2, 6, 0, 2)], "no part with update 2 and test sample 2"),
    "no beginning": ([make_part(2, 6)], "no part with update 0"),
    "no end": ([make_part(0, 5)], "no part with update 5"),
    "an overlap": ([make_part(0, 3), make_part(2, 6)], "update 2 and test sample 0 in two"),
    "an overlap of test samples": ([make_part(0, 6), make_part(4, 6, 2, 4)], "update 4 and test sample 2 in two"),
    "a part twice": ([make_part(0, 2), make_part(0, 2)], "update 0 and test sample 0 in two"),
    "another tolerance": ([make_part(0, 2), make_part(2, 6, tolerance=0.1)], "tolerance = 0.01"),
    "another target": ([make_part(0, 2), make_part(2, 6, target="loss")], "target = output"),
    "another run": ([make_part(0, 2), make_part(2, 6, run="other.zarr")], "run = trajectory.zarr"),
    "another precision": ([make_part(0, 2), make_part(2, 6, dtype="float64")], "dtype = float32"),
    "fixed nodes": ([make_part(0, 2), make_part(2, 6, fixed_nodes=9)], "fixed_nodes = 0"),
    "other blocks": ([make_part(0, 2), make_part(2, 6, block=4)], "block = 2"),
    "more tests": ([make_part(0, 2), make_part(2, 6, tests=8)], "tests = 4"),
    "other layers": ([make_part(0, 2), make_part(2, 6, layers=["one", "three"])], "labels on the axis 'layer'"),
    "nothing": ([empty(0), empty(4)], "All parts of the influence are empty"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    parts, words = REFUSED[case]
    with pytest.raises(StoreError):
        combine(parts[::-1])
    with pytest.raises(StoreError) as caught:
        combine(parts)
    assert words in str(caught.value)


def test_parts_that_are_too_large_together_are_refused() -> None:
    parts = [make_part(0, 3, largest=LIMIT / 5), make_part(3, 6, largest=LIMIT / 5)]
    with pytest.raises(QueryError, match="cannot be added up exactly"):
        combine(parts)


def test_stores(tmp_path: Path) -> None:
    paths = []
    for start, stop in ((0, 2), (2, 6)):
        paths.append(tmp_path / f"{start}.zarr")
        write_dataset(make_part(start, stop), paths[-1], kind="influence-part")
    accumulate.write(parts=paths, output=tmp_path / "influence.zarr")
    found = read_dataset(tmp_path / "influence.zarr", kind="influence")
    assert (found.kernel == 6.0).all()
    with pytest.raises(StoreError):
        accumulate.write(parts=[paths[0], tmp_path / "missing.zarr"], output=tmp_path / "other.zarr")
    with pytest.raises(StoreError):  # a whole run is no part of one
        accumulate.write(parts=[tmp_path / "influence.zarr"], output=tmp_path / "other.zarr")
    assert not (tmp_path / "other.zarr").exists()
