"""The store that a data set is kept in: where its images come from, and what is refused instead of guessed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from explaind.datasets import images
from explaind.errors import ConfigError, DataError, StoreError
from explaind.experiments.images import as_inputs, as_pixels, checked
from explaind.store import read_dataset, write_dataset

RNG = np.random.default_rng(0)

TINY = {
    "train_images": RNG.integers(256, size=(9, 1, 2, 3), dtype=np.uint8),
    "train_labels": np.array([0, 1, 2, 2, 1, 0, 5, 5, 2], dtype=np.uint8),
    "test_images": RNG.integers(256, size=(4, 1, 2, 3), dtype=np.uint8),
    "test_labels": np.array([5, 2, 1, 2], dtype=np.uint8),
}


def have() -> dict[str, np.ndarray]:
    return dict(TINY)


def missing(reason: str) -> Callable[[], dict[str, np.ndarray]]:
    def fail() -> dict[str, np.ndarray]:
        raise DataError(reason)

    return fail


def source(classes: list[int] | None) -> dict[str, Any]:
    return {"data": {"source": {"dataset": "tiny", "classes": classes}}}


def test_the_official_files_are_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(images.DATASETS, "tiny", (have, missing("not asked for")))
    assert images.fetch("tiny")[1] == "official files"


def test_the_package_takes_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(images.DATASETS, "tiny", (missing("no connection"), have))
    arrays, origin = images.fetch("tiny")
    assert origin == "package"
    np.testing.assert_array_equal(arrays["train_images"], TINY["train_images"])


def test_without_both_one_error_holds_both_reasons(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(images.DATASETS, "tiny", (missing("no connection"), missing("no registry")))
    with pytest.raises(DataError) as caught:
        images.write_data(source(None), tmp_path / "data.zarr")
    for words in ("data set tiny cannot be had", "no connection", "no registry", "no data are invented"):
        assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_only_a_missing_file_leads_to_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken() -> dict[str, np.ndarray]:
        raise ZeroDivisionError

    monkeypatch.setitem(images.DATASETS, "tiny", (mistaken, have))
    with pytest.raises(ZeroDivisionError):
        images.fetch("tiny")


def test_every_known_data_set_has_both_ways() -> None:
    assert set(images.DATASETS) == {"mnist", "cifar10"}
    assert all(len(ways) == 2 and all(callable(way) for way in ways) for ways in images.DATASETS.values())


@pytest.mark.parametrize(
    ("classes", "occur", "train", "test"),
    [
        (None, (0, 1, 2, 5), range(9), range(4)),
        ([2, 5], (2, 5), [2, 3, 6, 7, 8], [0, 1, 3]),
        ([5, 1], (1, 5), [1, 4, 6, 7], [0, 2]),
    ],
)
def test_a_data_set_or_some_of_its_classes_come_back_from_the_store(
    classes: list[int] | None, occur: tuple[int, ...], train: Any, test: Any,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setitem(images.DATASETS, "tiny", (missing("no connection"), have))
    images.write_data(source(classes), tmp_path / "data.zarr")
    found = images.read({"files": {"data": str(tmp_path / "data.zarr")}})
    assert found.classes == occur
    digest = hashlib.sha256()
    for role, kept, (pixels, labels) in (("test", test, found.test), ("train", train, found.train)):
        assert (pixels.dtype, labels.dtype) == (torch.uint8, torch.int64)
        assert torch.equal(pixels, torch.from_numpy(TINY[f"{role}_images"][list(kept)]))
        assert labels.tolist() == TINY[f"{role}_labels"][list(kept)].tolist()
        digest.update(TINY[f"{role}_images"][list(kept)].tobytes())
        digest.update(TINY[f"{role}_labels"][list(kept)].tobytes())
    attrs = read_dataset(tmp_path / "data.zarr", kind="images").attrs
    assert attrs == {"dataset": "tiny", "origin": "package", "sha256": digest.hexdigest()}


@pytest.mark.parametrize("config", [{}, {"files": {}}, {"files": {"data": None}}, {"files": {"data": ""}}])
def test_reading_without_a_path_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"needs its data set.*files\.data"):
        images.read(config)


def test_reading_what_is_no_store_of_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        images.read({"files": {"data": tmp_path / "missing.zarr"}})
    write_dataset(xr.Dataset({"x": ("a", np.zeros(2))}), tmp_path / "other.zarr", kind="scores")
    with pytest.raises(StoreError, match="scores"):
        images.read({"files": {"data": tmp_path / "other.zarr"}})


def test_drawing_is_without_replacement_and_from_its_seed_alone() -> None:
    pixels, labels = torch.zeros(50, 1, 2, 3), torch.zeros(50)
    state = torch.get_rng_state()
    drawn = images.draw(pixels, labels, 50, 3, "train")
    assert sorted(drawn.tolist()) == list(range(50))
    assert torch.equal(images.draw(pixels, labels, 20, 3, "train"), drawn[:20])
    assert not torch.equal(images.draw(pixels, labels, 50, 4, "train"), drawn)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("count", [0, -1, 51])
def test_more_samples_than_there_are_cannot_be_drawn(count: int) -> None:
    with pytest.raises(ConfigError, match=rf"this many test images.*1 to 50.*{count}.*data\.test"):
        images.draw(torch.zeros(50, 1), torch.zeros(50), count, 0, "test")


def test_images_without_labels_cannot_be_drawn() -> None:
    with pytest.raises(DataError, match="train images and labels do not belong together.*50, 49"):
        images.draw(torch.zeros(50, 1), torch.zeros(49), 5, 0, "train")


def test_images_of_another_size_are_refused() -> None:
    small, large = ((torch.zeros(2, 1, n, n), torch.zeros(2)) for n in (28, 32))
    good = images.Images(small, small, (0,))
    assert checked(good, (1, 28, 28)) is good
    with pytest.raises(DataError, match="training images have another size.*3 × 32 × 32.*1 × 28 × 28"):
        checked(good, (3, 32, 32))
    with pytest.raises(DataError, match="test images have another size.*1 × 28 × 28.*1 × 32 × 32"):
        checked(images.Images(small, large, (0,)), (1, 28, 28))


def test_inputs_are_normalised_per_channel_and_can_be_shown_again() -> None:
    pixels = torch.randint(256, (5, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = {"mean": [0.1, 0.5, 0.9], "std": [0.2, 0.3, 0.4]}
    inputs = as_inputs(pixels, data)
    assert inputs.dtype == torch.float32
    for channel, (mean, std) in enumerate(zip(data["mean"], data["std"], strict=True)):
        torch.testing.assert_close(inputs[:, channel], (pixels[:, channel] / 255 - mean) / std)
    torch.testing.assert_close(as_pixels(inputs, data), pixels / 255)
    assert float(as_pixels(inputs * 100, data).max()) == 1.0
