"""Running statistics of batch normalisation, which training changes without the optimizer.

They do not enter an update: in training mode a layer uses the statistics of its batch. They enter the explained function, the
model in evaluation mode, as they were after the last recorded update. So the latest are kept, one small file for each of the last
two chunks; the journal says which one is valid.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from explaind.errors import StoreError
from explaind.recording.journal import Commit
from explaind.store import crc32c, write_atomic

NAME = "statistics"  # in a commit's checksums


class RunningStatistics:
    """The buffers of the batch normalisations of a model that have been in training mode.

    Args:
        model: that is trained.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = [(name, m) for name, m in model.named_modules() if isinstance(m, _BatchNorm)]
        self._moving: set[str] = set()

    def active(self) -> str | None:
        """Which module uses the statistics of the batch now, in words; None if none does."""
        active = [(name, module) for name, module in self._modules if module.training]
        self._moving |= {name for name, _ in active}
        if not active:
            return None
        name, module = active[0]
        return f"{type(module).__name__} {name!r} uses the statistics of the batch in training mode"

    def present(self) -> dict[str, Tensor]:
        """Name → present value of every buffer that may move, a copy on the CPU."""
        return {
            f"{name}.{key}" if name else key: value.detach().cpu().clone()
            for name, module in self._modules
            if name in self._moving
            for key, value in module.named_buffers(recurse=False)
        }


def write(store: Path, ordinal: int, values: Mapping[str, Tensor]) -> dict[str, int]:
    """Write the statistics after chunk `ordinal`; the entry of its checksum in the commit, none if there are none."""
    if not values:
        return {}
    file = io.BytesIO()
    torch.save(dict(values), file)
    payload = file.getvalue()
    write_atomic(_file(store, ordinal), payload)
    return {NAME: crc32c(np.frombuffer(payload, dtype=np.uint8))}


def read(store: Path, commit: Commit, ordinal: int) -> dict[str, Tensor]:
    """The statistics after a chunk; none if no normalisation was active by then.

    Raises:
        StoreError: they are missing or damaged.
    """
    if NAME not in commit.crc:
        return {}
    file = _file(store, ordinal)
    payload = file.read_bytes() if file.is_file() else b""
    if crc32c(np.frombuffer(payload, dtype=np.uint8)) != commit.crc[NAME]:
        raise StoreError(
            f"The running statistics {file} are missing or damaged",
            expected="the checksum that the journal has",
            remedy="record again, or restore the store from a copy",
        )
    return torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")


def _file(store: Path, ordinal: int) -> Path:
    return store / f"{NAME}-{ordinal % 2}.bin"
