"""The published formats and the packages', and what is refused instead of guessed."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from explaind.datasets import cifar10, mnist
from explaind.datasets.pickles import load_arrays
from explaind.errors import DataError

RNG = np.random.default_rng(0)


# Pickles.


def python2_pickle(array: np.ndarray) -> bytes:
    """One array as Python 2 and an old numpy pickled it with protocol 2: its bytes are a string."""

    def string(text: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(text)) + text

    shape = b"(" + b"".join(b"J" + struct.pack("<i", size) for size in array.shape) + b"t"
    dtype = (
        b"cnumpy\ndtype\n" + string(array.dtype.str[1:].encode()) + b"K\x00K\x01\x87R"
        b"(K\x03" + string(array.dtype.str[:1].encode()) + b"NNN" + b"J\xff\xff\xff\xff" * 2 + b"K\x00tb"
    )
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + string(b"b") + b"\x87R"
    return b"\x80\x02" + empty + b"(K\x01" + shape + dtype + b"\x89" + string(array.tobytes()) + b"tb."


@pytest.mark.parametrize(
    "array",
    [
        RNG.normal(size=(3, 4)).astype(np.float32),
        RNG.integers(256, size=300).astype(np.uint8),  # bytes beyond ASCII
        RNG.integers(10, size=5),
    ],
)
def test_arrays_of_python_2_come_back(array: np.ndarray) -> None:
    found = load_arrays(python2_pickle(array))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_of_python_3_come_back(protocol: int) -> None:
    pixels, labels = RNG.random((2, 784), dtype=np.float32), np.arange(2)
    raw = pickle.dumps(
        ((pixels, labels), {"transposed": pixels.T}, [b"x", "ü", None, 1.5]), protocol=protocol
    )
    first, second, third = load_arrays(raw)
    np.testing.assert_array_equal(first[0], pixels)
    np.testing.assert_array_equal(first[1], labels)
    np.testing.assert_array_equal(second["transposed"], pixels.T)
    assert third == [b"x", "ü", None, 1.5]


class Runs:
    """Unpickled, it calls a function."""

    def __init__(self, function: Callable, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize(
    ("held", "name"),
    [
        (lambda p: Runs(os.system, f"touch {p}"), "system"),
        (lambda p: Runs(eval, f"open({str(p)!r}, 'w')"), "eval"),
        (lambda p: p, "pathlib"),
        (lambda p: Runs(np.save, p, 0), "numpy"),
        (lambda p: np.float32(1), "scalar"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_asks_for_anything_else_is_refused(
    tmp_path: Path, held: Callable, name: str, protocol: int
) -> None:
    made = tmp_path / "made"
    raw = pickle.dumps([np.zeros(2, dtype=np.uint8)] * (protocol > 2) + [held(made)], protocol=protocol)
    with pytest.raises(DataError, match=f"more than arrays.*{name}"):
        load_arrays(raw)
    assert list(tmp_path.iterdir()) == []


def test_a_pickle_cut_short_anywhere_is_refused() -> None:
    raw = pickle.dumps((RNG.random(7), [b"text"], {"a": np.arange(3)}), protocol=4)
    load_arrays(raw)
    for length in range(len(raw)):
        with pytest.raises(DataError, match="damaged"):
            load_arrays(raw[:length])


def test_what_is_no_pickle_is_refused() -> None:
    for raw in (b"\x1f\x8b\x08\x00", b"\xff" * 20, b"hello", b"."):
        with pytest.raises(DataError, match="damaged"):
            load_arrays(raw)


# The idx format, and MNIST.


def idx(array: np.ndarray) -> bytes:
    return (
        b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    )


@pytest.mark.parametrize("shape", [(5,), (3, 2, 4), (300, 1)])
def test_idx_files_come_back(shape: tuple[int, ...]) -> None:
    array = RNG.integers(256, size=shape, dtype=np.uint8)
    found = mnist.read_idx(idx(array), "digits")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    "raw", [b"", b"\x00\x00\x08", b"\x00\x00\x0d\x01\x00\x00\x00\x00", b"\x1f\x8b\x08\x08____"]
)
def test_a_file_of_another_kind_is_no_idx_file(raw: bytes) -> None:
    with pytest.raises(DataError, match="digits is not an idx file of bytes"):
        mnist.read_idx(raw, "digits")


def test_an_idx_file_of_another_length_is_refused() -> None:
    raw = idx(RNG.integers(256, size=(3, 2, 2), dtype=np.uint8))
    for wrong in (*(raw[:length] for length in range(4, len(raw))), raw + b"\x00", b"\x00\x00\x08\x00"):
        with pytest.raises(DataError, match="digits is cut short or damaged"):
            mnist.read_idx(wrong, "digits")


DIGITS = {
    "train_images": RNG.integers(256, size=(6, 28, 28), dtype=np.uint8),
    "train_labels": RNG.integers(10, size=6, dtype=np.uint8),
    "test_images": RNG.integers(256, size=(3, 28, 28), dtype=np.uint8),
    "test_labels": RNG.integers(10, size=3, dtype=np.uint8),
}
DIGITS["train_images"][0] = np.arange(784).reshape(28, 28) % 256  # every grey value occurs


def assert_are_digits(found: dict[str, np.ndarray]) -> None:
    assert found.keys() == DIGITS.keys()
    for role, array in found.items():
        assert array.dtype == np.uint8, role
        np.testing.assert_array_equal(array, DIGITS[role][:, None] if "images" in role else DIGITS[role])


def test_mnist_from_its_published_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def official(name: str, url: str, digest: str) -> Path:
        asked.append((name, url, digest))
        role = (
            f"{'test' if name.startswith('t10k') else 'train'}_{'images' if 'images' in name else 'labels'}"
        )
        (tmp_path / name).write_bytes(gzip.compress(idx(DIGITS[role])))
        return tmp_path / name

    monkeypatch.setattr(mnist, "official", official)
    assert_are_digits(mnist.official_files())
    assert len(asked) == 4
    assert all(url.startswith("https://") and url.endswith(f"/{name}") for name, url, _ in asked)
    assert all(digest.startswith("md5:") and len(digest) == 36 for _, _, digest in asked)


@pytest.mark.parametrize("keep", [12, -9])
def test_a_published_file_that_cannot_be_decompressed(
    tmp_path: Path, keep: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "digits.gz"
    path.write_bytes(gzip.compress(idx(DIGITS["train_images"]))[:keep])
    monkeypatch.setattr(mnist, "official", lambda *_: path)
    with pytest.raises(DataError, match="cannot be decompressed"):
        mnist.official_files()


def test_mnist_from_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """50,000 + 10,000 + 10,000 there, here 4 + 2 + 3, as float32 = byte / 256, rows of 784."""
    pixels = {
        role: (DIGITS[f"{role}_images"] / 256).astype(np.float32).reshape(-1, 784)
        for role in ("train", "test")
    }
    labels = {role: DIGITS[f"{role}_labels"].astype(np.int64) for role in ("train", "test")}
    parts = (
        (pixels["train"][:4], labels["train"][:4]),
        (pixels["train"][4:], labels["train"][4:]),
        (pixels["test"], labels["test"]),
    )
    with zipfile.ZipFile(tmp_path / "mnist.whl", "w") as wheel:
        wheel.writestr("mnist/data/mnist.pkl.gz", gzip.compress(pickle.dumps(parts, protocol=4)))
    monkeypatch.setattr(mnist, "pip_package", lambda *_: tmp_path / "mnist.whl")
    assert_are_digits(mnist.from_package())


# CIFAR-10.


def records(count: int) -> tuple[bytes, np.ndarray, np.ndarray]:
    pixels = RNG.integers(256, size=(count, 3, 32, 32), dtype=np.uint8)
    labels = RNG.integers(10, size=count, dtype=np.uint8)
    raw = b"".join(bytes([label]) + one.tobytes() for one, label in zip(pixels, labels, strict=True))
    return raw, pixels, labels


def test_records_come_back() -> None:
    raw, pixels, labels = records(4)
    found = cifar10.read_records(raw, "data_batch_1")
    np.testing.assert_array_equal(found[0], pixels)
    np.testing.assert_array_equal(found[1], labels)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda raw: raw[:-1], "data_batch_1 is cut short or damaged.*3073 bytes.*6145 bytes"),
        (lambda raw: raw + b"\x00", "cut short or damaged"),
        (lambda raw: b"", "cut short or damaged"),
        (lambda raw: raw[:3073] + b"\x0a" + raw[3074:], "data_batch_1 has a label that is none.*10"),
    ],
)
def test_records_that_are_none_are_refused(change: Callable[[bytes], bytes], says: str) -> None:
    with pytest.raises(DataError, match=says):
        cifar10.read_records(change(records(2)[0]), "data_batch_1")


def archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


FILES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")


def test_cifar10_from_its_published_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {name: records(2) for name in FILES}
    held = {f"cifar-10-batches-bin/{name}.bin": raw for name, (raw, _, _) in reversed(parts.items())}
    path = archive(tmp_path / "cifar.tar.gz", held)
    monkeypatch.setattr(cifar10, "official", lambda *_: path)
    found = cifar10.official_files()
    for i, kind in ((1, "images"), (2, "labels")):
        np.testing.assert_array_equal(
            found[f"train_{kind}"], np.concatenate([parts[name][i] for name in FILES[:-1]])
        )
        np.testing.assert_array_equal(found[f"test_{kind}"], parts["test_batch"][i])


def test_an_archive_without_one_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "cifar.tar.gz", {"cifar-10-batches-bin/data_batch_1.bin": records(1)[0]})
    monkeypatch.setattr(cifar10, "official", lambda *_: path)
    with pytest.raises(DataError, match="has no file cifar-10-batches-bin/data_batch_2.bin"):
        cifar10.official_files()


def picture(pixels: np.ndarray) -> bytes:
    """A PNG with one image [3, 32, 32] a row: 1,024 pixels in colour."""
    written = io.BytesIO()
    rows = pixels.reshape(len(pixels), 3, 1024).transpose(0, 2, 1)
    PIL.Image.fromarray(np.ascontiguousarray(rows)).save(written, format="png", compress_level=1)
    return written.getvalue()


def package(path: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The package with the same `count` images in each of its files; its images and its 60,000 labels."""
    pixels = np.zeros((count, 3, 32, 32), dtype=np.uint8)
    for row in (0, 7, count - 1):
        pixels[row] = RNG.integers(256, size=(3, 32, 32))
    labels = RNG.integers(10, size=60_000)
    files = dict.fromkeys((f"package/{name}.png" for name in FILES), picture(pixels))
    for name, part in (("train", labels[:50_000]), ("test", labels[50_000:])):
        files[f"package/{name}_lables.json"] = json.dumps(part.tolist()).encode()
    archive(path, files)
    return pixels, labels


def test_cifar10_from_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, labels = package(tmp_path / "cifar.tgz", 10_000)
    monkeypatch.setattr(cifar10, "npm_package", lambda *_: tmp_path / "cifar.tgz")
    found = cifar10.from_package()
    assert found["train_images"].shape == (50_000, 3, 32, 32)
    np.testing.assert_array_equal(found["test_images"], pixels)
    for part in np.split(found["train_images"], 5):
        np.testing.assert_array_equal(part, pixels)
    np.testing.assert_array_equal(found["train_labels"], labels[:50_000])
    np.testing.assert_array_equal(found["test_labels"], labels[50_000:])
    assert found["test_labels"].dtype == np.uint8


def test_a_picture_of_another_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path / "cifar.tgz", 20)
    monkeypatch.setattr(cifar10, "npm_package", lambda *_: tmp_path / "cifar.tgz")
    with pytest.raises(DataError, match="data_batch_1.png has another size.*10000.*20"):
        cifar10.from_package()
