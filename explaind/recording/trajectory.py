"""Read a recorded run: θ_0 … θ_T, v_{s+1}, and for each update what the optimizer did with which samples.

Every chunk is checked against the journal when it is first decoded, so a number that comes out of here is the number
that training produced. A run that is still going on, or was killed, opens up to its last commit.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from explaind.errors import StoreError
from explaind.optimizers import COEFFICIENTS
from explaind.recording import journal, statistics
from explaind.recording.chunks import ChunkReader
from explaind.recording.clipping import factors
from explaind.recording.forward_passes import ForwardPass, noted
from explaind.recording.kept import KeptStates
from explaind.recording.layout import Layout
from explaind.recording.pauses import Pauses
from explaind.recording.schema import HYPERPARAMETERS, JOURNAL, KIND, PER_STEP, RAGGED
from explaind.recording.steps import MicroBatch, StepRecord
from explaind.recording.verify import check_files, check_model, match_model
from explaind.store import read_manifest

CACHED_CHUNKS = 4
CACHED_STEPS = 4  # a walk asks for each several times, and for its neighbours


class Trajectory:
    """A verifying, lazy view of a recorded run.

    Args:
        path: the store.
        cached_chunks: decoded chunks kept per array, the least recently used dropped first. Memory is at most
            2 · cached_chunks · chunk_steps · D numbers; sequential and backward scans decode each chunk once.

    Raises:
        StoreError: no such store, another kind or schema version, a damaged manifest or journal.
    """

    def __init__(self, path: Path | str, *, cached_chunks: int = CACHED_CHUNKS) -> None:
        self.path = Path(path)
        self.manifest: dict[str, Any] = read_manifest(self.path, KIND)
        check_files(self.path, self.manifest)
        commits = journal.read(self.path / JOURNAL)
        self._chunks = [commit for commit in commits if commit.stop > commit.start]
        self._tail = [commit for commit in commits if commit.stop == commit.start]
        self._cached_chunks = cached_chunks
        self._reader = ChunkReader(self.path, self._chunks, self.manifest["static"], cached_chunks)
        self.layout = Layout.from_json(self.manifest["layout"])
        self.every: int | None = self.manifest.get("replay", {}).get("every")
        self.kept = KeptStates(self.path, commits)
        self._steps: dict[int, StepRecord] = {}
        self.chunk_steps: int = self.manifest["chunk_steps"]
        self.optimizer: str = self.manifest["optimizer"]
        # Recordings of before named it where updates are made again, or not at all.
        self.device: str | None = self.manifest.get("device", self.manifest.get("replay", {}).get("device"))
        self.config: dict[str, Any] = self.manifest["config"]
        self.complete: bool = self.manifest["complete"]
        self.n_steps: int = self._chunks[-1].stop if self._chunks else 0

    def held_bytes(self, start: int, stop: int) -> int:
        """Most memory that reading the updates [start, stop) in order takes, for what is as large as the parameters."""
        if stop <= start:
            return 0
        chunks = (stop - 1) // self.chunk_steps - max(0, start - 1) // self.chunk_steps + 1
        rows = min(self.n_steps, min(self._cached_chunks, chunks) * self.chunk_steps)
        held = (array for array in self.manifest["arrays"] if array["shape"][1:] == [self.layout.size])
        return sum(rows * self.layout.size * np.dtype(array["dtype"]).itemsize for array in held)

    def parameters(self, s: int) -> Tensor:
        """θ_s [D] for 0 ≤ s ≤ T, on the CPU. A view into the cache: read it, do not write to it."""
        self._check_step(s, self.n_steps)
        if s == 0:
            return self._reader.static("initial_parameters")
        if self.every is not None and s in self.kept.steps:
            theta, _ = self.kept.read(s)
            assert theta is not None
            return theta
        return self._vector("parameters", s - 1)

    def second_moment(self, s: int) -> Tensor:
        """v_{s+1} [D], the second moment right after update s, 0 ≤ s < T. A view, as for `parameters`.

        Raises:
            StoreError: the run was trained with another optimizer than Adam or AdamW.
        """
        if {"Adam", "AdamW"}.isdisjoint(self.rules):
            raise StoreError(
                f"A run with {self.optimizer} has no second moment on record",
                expected="a run with Adam or AdamW",
                got=str(self.path),
            )
        self._check_step(s, self.n_steps - 1)
        return self._vector("second_moment", s)

    def preconditioner(self, s: int) -> Tensor:
        """P_s or Q_s [D] of an optimizer of `explaind.optimizers`, 0 ≤ s < T. A view, as for `parameters`."""
        self._check_step(s, self.n_steps - 1)
        return self._vector("preconditioner", s)

    def coefficients(self, s: int) -> dict[str, tuple[float, ...]]:
        """The scalars of update s of such an optimizer, by name, one per parameter group."""
        self._check_step(s, self.n_steps - 1)
        columns = self._row("coefficients", s).T.tolist()
        return {name: tuple(column) for name, column in zip(COEFFICIENTS, columns, strict=True)}

    def trust(self, s: int) -> tuple[float, ...]:
        """T_s of each tensor of θ, for an optimizer that has trust ratios."""
        self._check_step(s, self.n_steps - 1)
        return tuple(self._row("trust", s).tolist())

    def step(self, s: int) -> StepRecord:
        """The options, counters and batches of update s, 0 ≤ s < T. Read them, do not write to them."""
        self._check_step(s, self.n_steps - 1)
        record = self._steps.get(s)
        if record is None:
            record = self._read_step(s)
            kept = list(self._steps.items())[1 - CACHED_STEPS :]
            self._steps = dict([*kept, (s, record)])  # another one: a second thread may be reading
        return record

    def _read_step(self, s: int) -> StepRecord:
        options = self._row("hyperparameters", s).T.tolist()
        flags = self.manifest["flags"]
        before, after = self._row("gradient_norms", s)
        clip_factor, clip_uniform = self._chunks[s // self.chunk_steps].clip[s % self.chunk_steps]
        return StepRecord(
            **{name: tuple(column) for name, column in zip(HYPERPARAMETERS, options, strict=True)},
            nesterov=tuple(group["nesterov"] for group in flags),
            maximize=tuple(group["maximize"] for group in flags),
            count=self.initial_count + s + 1,
            clip_factor=clip_factor,
            clip_uniform=clip_uniform,
            gradient_norms=tuple(np.maximum(after, 0.0).tolist()),
            clip_factors=tuple(factors(before, after).tolist()),
            batches=self._batches(s),
            **self._activity(s),
        )

    def clip_entries(self, s: int) -> Tensor | None:
        """c_s of every entry of θ, [D], where update s was clipped entry by entry; else None (see `StepRecord.clip_factors`)."""
        self._check_step(s, self.n_steps - 1)
        chunk, row = divmod(s, self.chunk_steps)
        cut, sizes = self._chunks[chunk].cut, self.layout.sizes
        if not cut or not cut[row]:
            return None
        entry = sum(sizes[tensor] for tensors in cut[:row] for tensor in tensors)
        stored = torch.from_numpy(self._reader.chunk("clip_entries", chunk))
        before, after = self._row("gradient_norms", s)
        whole = torch.from_numpy(factors(before, after)).to(stored.dtype)
        parts = [factor.expand(size) for factor, size in zip(whole, sizes, strict=True)]
        for tensor in cut[row]:
            parts[tensor] = stored[entry : entry + sizes[tensor]]
            entry += sizes[tensor]
        return torch.cat(parts)

    def penalty(self, s: int) -> float:
        """Weight of the announced penalty in the loss of update s; 0 where there was none."""
        self._check_step(s, self.n_steps - 1)
        weights = self._chunks[s // self.chunk_steps].penalty
        return weights[s % self.chunk_steps] if weights else 0.0

    @cached_property
    def penalized(self) -> bool:
        """Had the loss of any update a penalty?"""
        return any(commit.penalty for commit in self._chunks)

    @property
    def rules(self) -> tuple[str, ...]:
        """Name of the equations that each parameter group follows; several where several optimizers trained together."""
        return tuple(self.manifest.get("rules", [self.optimizer] * len(self.manifest["flags"])))

    @cached_property
    def pauses(self) -> Pauses | None:
        """Which tensors had no gradient in which updates, or lost their state; None if all had one in all, and one history.

        Runs of several optimizers have it always: their tensors are told apart.
        """
        initial = self.manifest.get("initial_counts")
        apart = any(commit.paused or commit.reset for commit in self._chunks) or "rules" in self.manifest
        if initial is None and not apart:
            return None
        return Pauses(self._reader, self._chunks, initial or [self.initial_count] * len(self.layout.names))

    def _activity(self, s: int) -> dict[str, tuple[Any, ...]]:
        if self.pauses is None:
            return {}
        active, counts = self.pauses.active(s), self.pauses.counts(s)
        reset = self.pauses.reset(s)
        return {"active": tuple(active.tolist()), "counts": tuple(counts.tolist()), "reset": reset}

    def metrics(self) -> pd.DataFrame:
        """What was logged: a column `step`, and one per metric; row s describes θ_s (T + 1 rows at most)."""
        rows = [
            {"step": commit.start + offset, **values}
            for commit in (*self._chunks, *self._tail)
            for offset, values in enumerate(commit.metrics)
            if values
        ]
        return pd.DataFrame(rows, columns=None if rows else ["step"])

    def rng_state(self, s: int) -> Tensor:
        """torch's CPU generator (uint8) before the first update of the chunk that holds update s."""
        self._check_step(s, self.n_steps - 1)
        return torch.from_numpy(self._reader.chunk("rng_state", s // self.chunk_steps)[0].copy())

    @cached_property
    def initial_buffer(self) -> Tensor:
        """m_0 [D]: momentum buffer or exp_avg before the first recorded update, zeros if there was none."""
        return self._reader.static("initial_buffer")

    @cached_property
    def initial_second_moment(self) -> Tensor:
        """v_0 [D]: exp_avg_sq before the first recorded update, zeros if there was none (and for other optimizers than Adam)."""
        return self._reader.static("initial_second_moment")

    @property
    def initial_count(self) -> int:
        """t before the first recorded update; for SGD 1 if a momentum buffer existed, else 0."""
        return int(self.manifest["initial_count"])

    @cached_property
    def constants(self) -> dict[str, Tensor]:
        """Parameters the optimizer never moved, and buffers, by name. Their role is in `manifest["constants"]`.

        Running statistics of batch normalisation are those after the last update.
        """
        raw = self._reader.static("constants")
        constants = {}
        for name, entry in self.manifest["constants"].items():
            part = raw[entry["offset"] : entry["offset"] + entry["bytes"]].clone()
            constants[name] = part.view(getattr(torch, entry["dtype"])).reshape(entry["shape"])
        if self._chunks:
            constants |= statistics.read(self.path, self._chunks[-1], len(self._chunks) - 1)
        return constants

    @property
    def normalizes(self) -> bool:
        """Did the run's training use statistics of its batches (batch normalisation)?"""
        return any(statistics.NAME in commit.crc for commit in self._chunks)

    def check_model(self, model: nn.Module) -> None:
        """Raise StoreError, naming the first difference, unless `model` has the recorded names, shapes, dtypes."""
        check_model(self.path, self.layout, self.manifest["constants"], model)

    def match_model(self, model: nn.Module) -> dict[str, str]:
        """Recorded name → name in `model`, which may be wrapped now or was then; StoreError if it is another model."""
        return match_model(self.path, self.layout, self.manifest["constants"], model)

    def used_entries(self) -> dict[str, int]:
        """Entries of each ragged array that hold batches, padding included."""
        if not self._chunks:
            return dict.fromkeys(RAGGED, 0)
        blocks = {
            name: (place, self._reader.array(name).chunk_rows)
            for name, place in self._chunks[-1].blocks.items()
        }
        return dict.fromkeys(RAGGED, 0) | {
            name: first + -(-length // block) * block for name, ((first, length), block) in blocks.items()
        }

    def verify(self) -> None:
        """Decode and check everything once; raises StoreError at the first damage."""
        for name in ("initial_parameters", "initial_buffer", "initial_second_moment", "constants"):
            self._reader.static(name)
        for chunk, commit in enumerate(self._chunks):
            for name in commit.crc.keys() & {*PER_STEP, *RAGGED, "rng_state"}:
                self._reader.chunk(name, chunk)
        self.kept.verify()

    def _check_step(self, s: int, last: int) -> None:
        if not 0 <= s <= last:
            raise StoreError(
                f"{self.path} has no such step", expected=f"a step between 0 and {last}", got=str(s)
            )

    def _vector(self, name: str, s: int) -> Tensor:
        """Row s of an array with an axis of D, [D]. All that explaining reads of this size comes from here.

        Raises:
            StoreError: the recording does not hold it, since it is to be made again.
        """
        if self.every is not None:
            raise StoreError(
                f"The recording {self.path} keeps one state in {self.every} updates, and not that after update {s}",
                expected="what makes the updates between again: the model, loss_fn and train",
                got="the recording alone",
                remedy="pass model, loss_fn and train to explaind.influence, plan or verify",
            )
        return torch.from_numpy(self._row(name, s))

    def checksum(self, s: int) -> int:
        """CRC-32C of θ_{s+1}, of a recording with keep="replay"."""
        return int(self._row("checksums", s))

    def clip_scales(self, s: int) -> np.ndarray:
        """What each tensor's gradient was multiplied with before update s, float64 [tensors]; with keep="replay"."""
        return self._row("clip_scales", s)

    @cached_property
    def highest_index(self) -> int:
        """The largest number of a training sample that any update saw; −1 without updates."""
        seen = (self._reader.chunk("batch_indices", ordinal) for ordinal in range(len(self._chunks)))
        return max((int(indices.max()) for indices in seen if indices.size), default=-1)

    def _row(self, name: str, s: int) -> np.ndarray:
        chunk, row = divmod(s, self.chunk_steps)
        return self._reader.chunk(name, chunk)[row]

    def _batches(self, s: int) -> tuple[MicroBatch, ...]:
        chunk, row = divmod(s, self.chunk_steps)
        lengths = self._chunks[chunk].batches
        indices, weights, views = (
            torch.from_numpy(self._reader.chunk(name, chunk))
            for name in ("batch_indices", "batch_weights", "batch_views")
        )
        forward = self._forward(chunk, row)
        before = [batch for step in lengths[:row] for batch in step]
        entry = sum(length for length, _, _ in before)
        weight = sum(length for length, kind, _ in before if kind == "samples")
        view = sum(length for length, _, viewed in before if viewed)
        batches = []
        for one, (length, kind, viewed) in zip(forward, lengths[row], strict=True):
            scale: float | Tensor | None = None if kind in (None, "samples") else float(kind)
            if kind == "samples":
                scale = weights[weight : weight + length]
                weight += length
            seen = views[view : view + length] if viewed else None
            view += length if viewed else 0
            batches.append(MicroBatch(indices[entry : entry + length], scale, seen, one))
            entry += length
        return tuple(batches)

    def _forward(self, chunk: int, row: int) -> list[ForwardPass | None]:
        """How the forward passes of one update ran."""
        notes = self._chunks[chunk].forward
        if not notes or not any(notes[row]):
            return [None] * len(self._chunks[chunk].batches[row])
        drawn = sum(bool(note and note[-1]) for step in notes[:row] for note in step)
        passes: list[ForwardPass | None] = []
        for note in notes[row]:
            state = None
            if note and note[-1]:
                state = torch.from_numpy(self._reader.chunk("generators", chunk)[drawn].copy())
                drawn += 1
            passes.append(noted(note, state) if note else None)
        return passes

    @cached_property
    def autocast(self) -> tuple[str, ...]:
        """The dtypes of torch.autocast that forward passes of the run's training went under."""
        notes = (note for commit in self._chunks for step in commit.forward for note in step if note)
        return tuple(sorted({dtype for note in notes if (dtype := noted(note, None).mode.autocast)}))

    @cached_property
    def has_views(self) -> bool:
        """Did the run name a view of its samples in any update (`Recorder.batch(indices, views=...)`)?"""
        return any(viewed for commit in self._chunks for step in commit.batches for _, _, viewed in step)
