"""Stores: what goes in comes out, and every kind of damage is its own clear error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from explaind.errors import StoreError
from explaind.store import read_dataset, read_manifest, write_dataset


def example() -> xr.Dataset:
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(5, 2, 3))
    kernel[0, 0, 0] = np.nan
    return xr.Dataset(
        {
            "kernel": (("step", "layer", "test"), kernel, {"unit": "output"}),
            "nodes": (("step",), np.arange(5, dtype=np.int32)),
            "flag": (("test",), np.array([True, False, True])),
            "scalar": ((), np.float32(2.5)),
        },
        coords={
            "step": np.arange(10, 15),
            "layer": ["att. encoder", "décodeur"],
            "test": np.array([4, 9, 2]),
            "key": ("test", np.array([0.5, 0.25, 1.0])),
        },
        attrs={"tolerance": np.float64(1e-3), "window": (200, 250), "note": "späť", "nothing": None},
    )


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    write_dataset(example(), tmp_path / "a.zarr", kind="influence", manifest={"config": {"lr": 1e-3}})
    return tmp_path / "a.zarr"


def test_round_trip(stored: Path) -> None:
    loaded = read_dataset(stored, kind="influence")
    xr.testing.assert_equal(loaded, example())
    assert {str(n): v.dtype for n, v in loaded.variables.items()} == {
        str(n): v.dtype for n, v in example().variables.items()
    }
    assert loaded.attrs == {"tolerance": 1e-3, "window": [200, 250], "note": "späť", "nothing": None}
    assert loaded.kernel.attrs == {"unit": "output"}
    assert loaded.sel(layer="décodeur", step=12).kernel.shape == (3,)
    assert read_manifest(stored)["config"] == {"lr": 1e-3}


@pytest.mark.filterwarnings("ignore:Object at manifest.json")
def test_xarray_opens_it_too(stored: Path) -> None:
    with xr.open_zarr(stored, consolidated=False) as opened:
        np.testing.assert_array_equal(opened.kernel.values, example().kernel.values)
        assert "key" in opened.coords


@pytest.mark.parametrize("chunks", [None, {"step": 2}, {"layer": 1, "step": 3}])
def test_chunking_does_not_change_the_values(tmp_path: Path, chunks: dict[str, int] | None) -> None:
    write_dataset(example(), tmp_path / "a.zarr", kind="k", chunks=chunks)
    xr.testing.assert_equal(read_dataset(tmp_path / "a.zarr", kind="k"), example())


def test_empty_dimensions(tmp_path: Path) -> None:
    empty = example().isel(step=slice(0, 0))
    write_dataset(empty, tmp_path / "a.zarr", kind="k")
    xr.testing.assert_identical(read_dataset(tmp_path / "a.zarr", kind="k").drop_attrs(), empty.drop_attrs())


def test_every_flipped_bit_and_truncation_and_removal_is_noticed(stored: Path) -> None:
    generator = np.random.default_rng(1)
    files = [file for file in stored.rglob("*") if file.is_file()]
    assert len(files) > 12
    for file in files:
        intact = file.read_bytes()
        for _ in range(4):
            damaged = bytearray(intact)
            damaged[generator.integers(len(intact))] ^= 1 << generator.integers(8)
            file.write_bytes(bytes(damaged))
            with pytest.raises(StoreError, match=r"damaged|schema version"):
                read_dataset(stored, kind="influence")
        file.write_bytes(intact[:-1])
        with pytest.raises(StoreError, match=r"truncated|damaged"):
            read_dataset(stored, kind="influence")
        file.unlink()
        with pytest.raises(StoreError, match=r"missing|There is no"):
            read_dataset(stored, kind="influence")
        file.write_bytes(intact)
    read_dataset(stored, kind="influence")


def test_other_kind_version_and_path(stored: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"Expected: kind 'window'\. Got: kind 'influence'"):
        read_dataset(stored, kind="window")
    body = json.loads((stored / "manifest.json").read_text())
    (stored / "manifest.json").write_text(json.dumps({**body, "schema_version": 99}))
    with pytest.raises(StoreError, match=r"another schema version.*version 99"):
        read_dataset(stored, kind="influence")
    with pytest.raises(StoreError, match="There is no window store"):
        read_dataset(tmp_path / "nowhere.zarr", kind="window")


def test_refuses_to_overwrite_unless_told(stored: Path) -> None:
    with pytest.raises(StoreError, match="overwrite=True"):
        write_dataset(example(), stored, kind="influence")
    write_dataset(example() * 2, stored, kind="influence", overwrite=True)
    xr.testing.assert_equal(read_dataset(stored, kind="influence"), example() * 2)


@pytest.mark.parametrize(
    "bad",
    [
        xr.Dataset({"a": ("x", np.array([{}, {}], dtype=object))}),
        xr.Dataset({"a": ("x", np.array(["2020"], dtype="datetime64[ns]"))}),
        xr.Dataset({"a": ("x", [1.0])}, attrs={"model": object()}),
    ],
)
def test_nothing_is_pickled_and_a_failed_write_leaves_nothing(tmp_path: Path, bad: xr.Dataset) -> None:
    with pytest.raises(StoreError, match="cannot be stored"):
        write_dataset(bad, tmp_path / "a.zarr", kind="k")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("explaind.store.dataset.write_manifest", full)
    with pytest.raises(StoreError, match=r"No space left on device.*free space"):
        write_dataset(example(), tmp_path / "a.zarr", kind="k")
    assert list(tmp_path.iterdir()) == []
