"""Parts of a run's influence add up, or are refused: a gap, an overlap, other options, other labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from explaind.attribution.accumulate import combine
from explaind.errors import StoreError
from explaind.stages import accumulate
from explaind.store import read_dataset, write_dataset

LAYERS, TESTS, OUTPUTS = ["one", "two"], 3, 2
GENERATOR = np.random.default_rng(0)
VALUES = GENERATOR.normal(size=(7, TESTS, OUTPUTS))  # f at θ_0 … θ_6


def make_part(
    start: int, stop: int, *, tests: int = TESTS, layers: list[str] | None = None, **attrs: object
) -> xr.Dataset:
    """A part as the stage writes it: signed sums over its updates, importances of each."""
    layers = layers or LAYERS
    steps = np.arange(start, stop)
    signed = (("layer", "test", "output"), np.full((len(layers), tests, OUTPUTS), float(stop - start)))
    by_step = (("step", "layer"), np.repeat(steps[:, None], len(layers), 1).astype(float))
    return xr.Dataset(
        {
            "kernel": signed,
            "regularization": (signed[0], -0.5 * signed[1]),
            "initial": (("test", "output"), VALUES[start, :tests].copy()),
            "final": (("test", "output"), VALUES[stop, :tests].copy()),
            "residual": (("test", "output"), np.full((tests, OUTPUTS), np.nan)),
            "importance_kernel": by_step,
            "nodes": ("step", 1.0 + steps),
            "quadrature_error": ("step", steps / 100),
        },
        coords={"step": steps, "layer": layers, "test": np.arange(tests), "output": np.arange(OUTPUTS)},
        attrs={
            "start": start, "stop": stop, "updates": 6, "seconds": 2.0, "target": "output", "tolerance": 0.01, "fixed_nodes": 0,
            "dtype": "float32", "run": "trajectory.zarr", "lineage": "update", "algorithm": "forward", **attrs,
        },
    )  # fmt: skip


def empty(start: int) -> xr.Dataset:
    return xr.Dataset(attrs={"start": start, "stop": start, "seconds": 0.0})


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 2, 0)])
def test_parts_add_up(order: tuple[int, ...]) -> None:
    parts = [make_part(0, 2), make_part(2, 5), make_part(5, 6), empty(8)]
    total = combine([parts[i] for i in order])
    assert (total.attrs["start"], total.attrs["stop"], total.attrs["parts"]) == (0, 6, 3)
    assert total.attrs["seconds"] == 6.0
    assert total.attrs["nodes_mean"] == pytest.approx(3.5)
    assert total.attrs["quadrature_error_worst"] == pytest.approx(0.05)
    assert total.step.values.tolist() == [0, 1, 2, 3, 4, 5]
    assert (total.kernel == 6.0).all()
    assert (total.regularization == -3.0).all()
    assert total.importance_kernel.sel(layer="two").values.tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(total.initial, VALUES[0])
    np.testing.assert_array_equal(total.final, VALUES[6])
    complete = total.initial + (total.kernel + total.regularization).sum("layer") + total.residual
    np.testing.assert_allclose(complete, total.final, atol=1e-15)


def test_sums_are_kept_in_double() -> None:
    parts = [make_part(0, 1), make_part(1, 2)]
    parts = [
        p.assign(kernel=p.kernel.astype("float32") * value)
        for p, value in zip(parts, (1e8, 1.0), strict=True)
    ]
    assert (combine(parts).kernel == 1e8 + 1).all()


def test_carried_momentum_adds_up_too() -> None:
    parts = [p.assign(carried=2 * p.kernel) for p in (make_part(0, 2), make_part(2, 4))]
    total = combine(parts)
    assert (total.carried == 8.0).all()
    complete = (
        total.initial + (total.kernel + total.regularization + total.carried).sum("layer") + total.residual
    )
    np.testing.assert_allclose(complete, total.final, atol=1e-15)


REFUSED = {
    "a gap": ([make_part(0, 2), make_part(3, 5)], "begins at update 2"),
    "an overlap": ([make_part(0, 3), make_part(2, 5)], "begins at update 3"),
    "a part twice": ([make_part(0, 2), make_part(0, 2)], "begins at update 2"),
    "another tolerance": ([make_part(0, 2), make_part(2, 4, tolerance=0.1)], "tolerance = 0.01"),
    "another target": ([make_part(0, 2), make_part(2, 4, target="loss")], "target = output"),
    "another run": ([make_part(0, 2), make_part(2, 4, run="other.zarr")], "run = trajectory.zarr"),
    "another precision": ([make_part(0, 2), make_part(2, 4, dtype="float64")], "dtype = float32"),
    "fixed nodes": ([make_part(0, 2), make_part(2, 4, fixed_nodes=9)], "fixed_nodes = 0"),
    "fewer tests": ([make_part(0, 2), make_part(2, 4, tests=2)], "labels on the axis 'test'"),
    "other layers": (
        [make_part(0, 2), make_part(2, 4, layers=["one", "three"])],
        "labels on the axis 'layer'",
    ),
    "nothing": ([empty(0), empty(4)], "All parts of the influence are empty"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    parts, words = REFUSED[case]
    for given in (parts, parts[::-1]):
        with pytest.raises(StoreError) as caught:
            combine(given)
    with pytest.raises(StoreError) as caught:
        combine(parts)
    assert words in str(caught.value)


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


@pytest.mark.parametrize("ranges", [[(0, 2), (2, 5)], [(2, 5), (5, 6)]])
def test_a_missing_first_or_last_part_is_refused(ranges: list[tuple[int, int]], tmp_path: Path) -> None:
    paths = [tmp_path / f"{start}.zarr" for start, _ in ranges]
    for path, (start, stop) in zip(paths, ranges, strict=True):
        write_dataset(make_part(start, stop), path, kind="influence-part")
    with pytest.raises(StoreError, match="do not cover the run"):
        accumulate.write(parts=paths, output=tmp_path / "influence.zarr")
    assert not (tmp_path / "influence.zarr").exists()
