"""Stores on disk: the only package that imports Zarr.

`write_dataset` and `read_dataset` are for labelled results, written once and verified whole. `ArraySpec`,
`create_array` and `open_array` are for arrays that grow chunk by chunk, such as a recorded trajectory.
"""

from __future__ import annotations

from explaind.store.arrays import ArraySpec, StoredArray, crc32c, create_array, create_group, open_array
from explaind.store.dataset import check_absent, read_dataset, write_dataset
from explaind.store.manifest import (
    SCHEMA_VERSION,
    canonical_json,
    read_manifest,
    sha256_file,
    write_atomic,
    write_manifest,
)

__all__ = [
    "SCHEMA_VERSION",
    "ArraySpec",
    "StoredArray",
    "canonical_json",
    "check_absent",
    "crc32c",
    "create_array",
    "create_group",
    "open_array",
    "read_dataset",
    "read_manifest",
    "sha256_file",
    "write_atomic",
    "write_dataset",
    "write_manifest",
]
