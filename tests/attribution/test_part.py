"""However a run's influence is cut, its parts give the same bits, and those of one query up to rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import explaind
from explaind.attribution.exact_sums import LIMIT, check_reach, from_quanta, to_quanta
from explaind.errors import QueryError
from explaind.experiments.build import load
from explaind.stages import accumulate, certify, influence
from explaind.store import read_dataset
from tests.experiments.fake_images import configured, recorded, write_images

UPDATES, TESTS, BLOCK = 6, 11, 6
WHOLE = [(0, UPDATES, 0, TESTS)]
CUTS = {
    "updates": [(1, UPDATES, 0, TESTS), (0, 1, 0, TESTS)],
    "updates and test samples": [(2, 6, 0, 6), (6, 9, 0, TESTS), (2, 6, 6, TESTS), (0, 2, 0, TESTS)],
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Path]]:
    """(configuration, recorded run and certificate)."""
    folder = tmp_path_factory.mktemp("run")
    data = write_images(folder / "data.zarr", "mnist")
    chosen = {"tests": TESTS, "block": BLOCK, "tolerance": 1e-3, "groups": "all"}
    config = configured("mnist", data, *(f"influence.{name}={value}" for name, value in chosen.items()))
    path = recorded(config, folder)
    certify.write(config, trajectory=path, output=folder / "certificate.zarr")
    return config, {"trajectory": path, "certificate": folder / "certificate.zarr"}


def put_together(run: tuple, ranges: list[tuple[int, int, int, int]], folder: Path) -> xr.Dataset:
    config, files = run
    parts = []
    for start, stop, first, last in ranges:
        parts.append(folder / f"{start}-{stop}-{first}-{last}.zarr")
        at = {"start": start, "stop": stop, "tests_from": first, "tests_to": last}
        influence.write(config, **files, **at, output=parts[-1])
    accumulate.write(parts=parts, output=folder / "influence.zarr")
    return read_dataset(folder / "influence.zarr", kind="influence")


@pytest.fixture(scope="module")
def whole(run: tuple, tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    return put_together(run, WHOLE, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("cut", CUTS)
def test_every_cut_gives_the_same_bits(cut: str, run: tuple, whole: xr.Dataset, tmp_path: Path) -> None:  # fmt: skip
    found = put_together(run, CUTS[cut], tmp_path)
    assert found.attrs.pop("parts") == len([part for part in CUTS[cut] if part[0] < UPDATES])
    expected = whole.copy()
    expected.attrs = {name: value for name, value in whole.attrs.items() if name != "parts"}
    xr.testing.assert_identical(found, expected)
    for (
        name
    ) in whole.variables:  # identical tells 0.0 from -0.0 and one NaN from another no more than == does
        assert found[name].values.tobytes() == whole[name].values.tobytes(), name


def test_parts_agree_with_one_query(run: tuple, whole: xr.Dataset) -> None:
    config, files = run
    experiment = load(config, seed=0)
    tests = experiment.test[0][:TESTS]
    options = {"test": tests, "tolerance": 1e-3, "groups": {"all": ["*"]}}
    path, model = files["trajectory"], experiment.model
    signed = explaind.influence(path, model, keep=("layer", "test", "output"), **options)
    by_step = explaind.influence(
        path, model, keep=("step", "layer"), importance=("test", "output"), **options
    )
    for name in ("kernel", "regularization"):
        np.testing.assert_allclose(whole[name], signed[name], atol=3e-6)
        for level in ("", "_all"):
            np.testing.assert_allclose(
                whole[f"importance_{name}{level}"], by_step[f"{name}{level}"], rtol=1e-4, atol=1e-6
            )
    np.testing.assert_allclose(whole.nodes, by_step.nodes, atol=0.5)
    terms = (whole.kernel + whole.regularization).sum("layer")
    np.testing.assert_allclose(whole.initial + terms + whole.residual, whole.final, atol=1e-12)


def test_a_part_that_cuts_a_block_is_refused(run: tuple, tmp_path: Path) -> None:
    config, files = run
    with pytest.raises(QueryError, match="cuts a block"):
        influence.write(
            config, **files, start=0, stop=2, tests_from=0, tests_to=4, output=tmp_path / "p.zarr"
        )


def test_quanta_add_exactly_where_floats_do_not() -> None:
    values = np.random.default_rng(0).normal(scale=100, size=4000).astype(np.float32)
    shuffled = np.random.default_rng(1).permutation(values)
    assert np.cumsum(values.astype(np.float64) / 3)[-1] != np.cumsum(shuffled.astype(np.float64) / 3)[-1]
    sums = [to_quanta(torch.from_numpy(order).double() / 3).sum().numpy() for order in (values, shuffled)]
    assert sums[0] == sums[1]
    exact = values.astype(np.longdouble).sum() / 3
    assert abs(from_quanta(sums[0]) - float(exact)) < 4000 * 2.0**-41


@pytest.mark.parametrize("largest", [[1.0, np.nan], [np.inf, 0.0], [LIMIT / 2, LIMIT / 2]])
def test_what_cannot_be_added_exactly_is_refused(largest: list[float]) -> None:
    check_reach(np.array([LIMIT / 2, LIMIT / 4]))
    with pytest.raises(QueryError, match="cannot be added up exactly"):
        check_reach(np.array(largest))
