"""Continue an interrupted recording where its last whole chunk ended.

θ and v at that point are in the store. Momentum, step counter and random state are kept beside it, in two files that
alternate, so that a crash while one is written leaves the other. The journal says which one is valid.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from explaind.errors import StoreError
from explaind.recording import journal, kept
from explaind.recording.journal import Commit
from explaind.recording.linear import unpack_state
from explaind.recording.observer import Observer
from explaind.recording.remaking import Remaking
from explaind.recording.schema import JOURNAL, KIND
from explaind.recording.state import OptimizerState, restore_state
from explaind.recording.trajectory import Trajectory
from explaind.store import crc32c, read_manifest, write_atomic, write_manifest

REMOVED_ON_RESUME = ("complete", "batches_without_update", "files", "kind", "schema_version", "libraries")


@dataclass(frozen=True)
class ResumePoint:
    """What the store itself does not hold about the moment after a chunk: t, m [D], the generator's state [bytes].

    Of an optimizer of `explaind.optimizers` also all of its state (`explaind.recording.linear.pack_state`). `counts` is t of each
    tensor, where they differ; else empty.
    """

    count: int
    buffer: Tensor
    rng: Tensor
    state: bytes = b""
    counts: tuple[int, ...] = ()


def write_point(store: Path, ordinal: int, point: ResumePoint) -> int:
    """Write the point of chunk `ordinal` into its slot and return the checksum of the file."""
    head = {"count": point.count, "size": point.buffer.numel()}
    if point.state:
        head["state"] = len(point.state)
    if point.counts:
        head["counts"] = list(point.counts)
    payload = b"%s\n%s%s%s" % (
        json.dumps(head).encode(),
        point.buffer.numpy().tobytes(),
        point.state,
        point.rng.numpy().tobytes(),
    )
    write_atomic(_slot(store, ordinal), payload)
    return crc32c(np.frombuffer(payload, dtype=np.uint8))


def find_point(store: Path, dtype: torch.dtype, chunk_steps: int) -> tuple[list[Commit], ResumePoint | None]:
    """The journal up to the last commit from which training can continue, and what was kept there.

    A chunk that was cut short by an exception holds no such point: those updates are trained again.
    """
    commits = journal.read(store / JOURNAL)
    while commits:
        last = commits[-1]
        slot = _slot(store, last.start // chunk_steps)
        if "resume" in last.crc and slot.is_file():
            payload = slot.read_bytes()
            if crc32c(np.frombuffer(payload, dtype=np.uint8)) == last.crc["resume"]:
                return commits, _parse(payload, dtype)
        commits.pop()
    return [], None


def restore(store: Path, observer: Observer, remaking: Remaking | None = None) -> Trajectory | None:
    """Bring model, optimizer and torch's CPU generator back to the last whole chunk; drop what came after it.

    Options of the optimizer (a scheduled learning rate) and other generators are the caller's own.

    Returns:
        the trajectory up to that point, or None if nothing can be continued.

    Raises:
        StoreError: the store is damaged, or was recorded with another model or optimizer.
    """
    manifest = read_manifest(store, KIND)
    trajectory = Trajectory(store)
    layout = trajectory.layout
    commits, point = find_point(store, layout.dtype, trajectory.chunk_steps)
    if point is None:
        return None
    if "joining" in manifest:
        raise StoreError(
            f"The trajectory {store} has parameters that join the optimizer later, and cannot be resumed",
            expected="an optimizer that holds all parameters from the start",
            got=f"{manifest['joining']} tensors that it did not hold then",
            remedy="record into a new store; frozen parameters may be in the optimizer from the start",
        )
    model, optimizer, names = observer.model, observer.optimizer, observer.names
    trajectory.check_model(model)
    groups = {id(p): index for index, group in enumerate(optimizer.param_groups) for p in group["params"]}
    named = dict(model.named_parameters())
    recorded = (list(trajectory.rules), manifest["flags"], layout.group)
    given = (list(names), list(observer.flags), tuple(groups.get(id(named[n])) for n in layout.names))
    if recorded != given:
        raise StoreError(
            f"The trajectory {store} was recorded with another optimizer",
            expected=str(recorded),
            got=str(given),
            remedy="resume with the same optimizer, options and groups, or record into a new store",
        )
    every = None if remaking is None else remaking.every
    if trajectory.every != every:
        kinds = [
            'keep="all"' if k is None else f'keep="replay", every={k}' for k in (trajectory.every, every)
        ]
        raise StoreError(
            f"The trajectory {store} was recorded with other options",
            expected=kinds[0],
            got=kinds[1],
            remedy="resume with the same options, or record into a new store",
        )
    journal.rewrite(store / JOURNAL, commits)
    kept.forget(store, commits)
    body = {key: value for key, value in manifest.items() if key not in REMOVED_ON_RESUME}
    write_manifest(store, {**body, "complete": False}, kind=KIND)
    trajectory = Trajectory(store)
    step = trajectory.n_steps
    theta, whole = (None, None) if every is None else kept.unpack(point.state)
    with torch.no_grad():
        start = trajectory.parameters(step) if theta is None else theta
        for parameter_name, value in layout.unflatten(start).items():
            named[parameter_name].copy_(value)
        everything = {**named, **dict(model.named_buffers())}
        for constant_name, value in trajectory.constants.items():
            everything[constant_name].copy_(value)
        moved = [named[parameter_name] for parameter_name in layout.names]
        if whole is not None:
            kept.place(optimizer, moved, whole)
        elif observer.rule is not None:
            unpack_state(optimizer, moved, point.state)
        else:
            adam = not {"Adam", "AdamW"}.isdisjoint(names)
            second = trajectory.second_moment(step - 1) if adam else torch.zeros_like(point.buffer)
            state = OptimizerState(point.buffer, second, point.count, point.counts)
            tables = (
                m for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag) and m.sparse
            )
            restore_state(optimizer, moved, layout, names, state, {id(table.weight) for table in tables})
    torch.set_rng_state(point.rng.clone())
    return trajectory


def _slot(store: Path, ordinal: int) -> Path:
    return store / f"resume-{ordinal % 2}.bin"


def _parse(payload: bytes, dtype: torch.dtype) -> ResumePoint:
    head, _, body = payload.partition(b"\n")
    values = json.loads(head)
    width = values["size"] * dtype.itemsize
    buffer = torch.frombuffer(bytearray(body[:width]), dtype=dtype) if width else torch.zeros(0, dtype=dtype)
    stop = width + values.get("state", 0)
    rng = torch.frombuffer(bytearray(body[stop:]), dtype=torch.uint8)
    return ResumePoint(values["count"], buffer, rng, bytes(body[width:stop]), tuple(values.get("counts", ())))
