"""The states that a small recording keeps: θ and the optimizer's state after every k-th update, one file each.

`keep="replay"` leaves out what is large and can be made again: θ_{s+1} and what gradients were scaled by, of the updates between
two kept states. Before the first update the optimizer's state alone is kept (θ_0 is an array), after the last one θ alone.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from explaind.errors import StoreError
from explaind.recording.journal import Commit
from explaind.recording.linear import state_of
from explaind.store import crc32c, write_atomic

__all__ = ["FOLDER", "KeptStates", "pack", "place", "write_state"]

FOLDER = "states"
PREFIX = "state-"
CACHED = 2  # states in memory


def pack(
    optimizer: Optimizer | None, parameters: Sequence[Tensor] = (), theta: Tensor | None = None
) -> bytes:
    """A state as bytes: θ [D] if it is given, and the optimizer's state of these parameters if it is given."""
    state = None if optimizer is None else state_of(optimizer, parameters)
    file = io.BytesIO()
    torch.save({"parameters": theta, "optimizer": state}, file)
    return file.getvalue()


def unpack(payload: bytes) -> tuple[Tensor | None, dict[str, Any] | None]:
    """θ [D] and the content of `state_of`, on the CPU; None for what the state does not hold."""
    content = torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")
    return content["parameters"], content["optimizer"]


def place(optimizer: Optimizer, parameters: Sequence[Tensor], content: dict[str, Any]) -> None:
    """Give the optimizer a state from `unpack`: tensors go to their parameter's device, counters to the CPU unless a fused kernel
    reads them."""
    fused = {id(p): bool(group.get("fused")) for group in optimizer.param_groups for p in group["params"]}
    for parameter, state in zip(parameters, content["states"], strict=True):
        optimizer.state[parameter] = {
            name: value.to(parameter.device, copy=True)
            if isinstance(value, Tensor) and (name != "step" or fused[id(parameter)])
            else (value.clone() if isinstance(value, Tensor) else value)
            for name, value in state.items()
        }
    for group, step in zip(optimizer.param_groups, content["steps"], strict=True):
        if step is not None:
            group["step"] = step


def write_state(store: Path, step: int, payload: bytes) -> dict[str, int]:
    """Write the state before update `step`; its name and checksum, for the journal."""
    file = _file(store, step)
    file.parent.mkdir(exist_ok=True)
    write_atomic(file, payload)
    return {f"{PREFIX}{step}": crc32c(np.frombuffer(payload, dtype=np.uint8))}


def forget(store: Path, commits: Sequence[Commit]) -> None:
    """Remove the states that the journal does not name: of updates that are made anew."""
    known = {_file(store, step) for step in _named(commits)}
    for file in (store / FOLDER).glob("*.bin"):
        if file not in known:
            file.unlink()


class KeptStates:
    """Reads the states that the journal names.

    Args:
        store: the recording.
        commits: every line of its journal.

    Attributes:
        steps: s of each kept θ_s, rising; 0 always.
    """

    def __init__(self, store: Path, commits: Sequence[Commit]) -> None:
        self._store = store
        self._crc = _named(commits)
        self.steps = tuple(sorted({0, *self._crc}))
        self._cache: OrderedDict[int, tuple[Tensor | None, dict[str, Any] | None]] = OrderedDict()

    def read(self, step: int) -> tuple[Tensor | None, dict[str, Any] | None]:
        """θ_step [D] and the optimizer's state before update `step`, both None where they are not in the file.

        Raises:
            StoreError: the file is missing or damaged, or no state is kept there.
        """
        if step in self._cache:
            self._cache.move_to_end(step)
            return self._cache[step]
        file = _file(self._store, step)
        try:
            payload = file.read_bytes()
        except OSError as error:
            raise _unreadable(file, str(error)) from error
        actual = crc32c(np.frombuffer(payload, dtype=np.uint8))
        if actual != self._crc.get(step):
            raise _unreadable(file, f"the checksum {actual} in place of {self._crc.get(step)}")
        self._cache[step] = unpack(payload)
        while len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        return self._cache[step]

    def segment(self, s: int, steps: int) -> tuple[int, int]:
        """(start, stop) of the kept states around update s, which is one of start … stop − 1; `steps` after the last state."""
        start = max(kept for kept in self.steps if kept <= s)
        return start, min((kept for kept in self.steps if kept > s), default=steps)

    def verify(self) -> None:
        """Read every state once; raises StoreError at the first damage."""
        for step in self._crc:
            self.read(step)


def _named(commits: Sequence[Commit]) -> dict[int, int]:
    return {
        int(name.removeprefix(PREFIX)): crc
        for commit in commits
        for name, crc in commit.crc.items()
        if name.startswith(PREFIX)
    }


def _file(store: Path, step: int) -> Path:
    return store / FOLDER / f"{step:08d}.bin"


def _unreadable(file: Path, got: str) -> StoreError:
    return StoreError(
        f"The kept state {file} cannot be read",
        expected="a file that agrees with its checksum",
        got=got,
        remedy="record again, or restore the store from a copy",
    )
