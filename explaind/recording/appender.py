"""Append updates to a store: they come in one by one and are written in chunks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from explaind.errors import RecordingError
from explaind.recording import creation, journal
from explaind.recording.clipping import clip_factor
from explaind.recording.journal import Commit
from explaind.recording.keeper import Keeper
from explaind.recording.kept import write_state
from explaind.recording.linear import pack_state
from explaind.recording.observer import Observer
from explaind.recording.remaking import Remaking
from explaind.recording.resume import ResumePoint
from explaind.recording.schema import JOURNAL, KIND, RAGGED
from explaind.recording.state import OptimizerState, read_hyperparameters, read_state
from explaind.recording.steps import MicroBatch
from explaind.recording.trajectory import Trajectory
from explaind.recording.writer import Writer
from explaind.store import open_array, read_manifest


class Appender:
    """Fills chunks with what the observer reads, and passes them to the writer.

    Args:
        trajectory: the store as it is now; the next update is number `trajectory.n_steps`.
        observer: learns here which parameters are θ.
        rng: the generator's state before that update.
        remaking: of a recording with keep="replay".
    """

    def __init__(
        self, trajectory: Trajectory, observer: Observer, rng: Tensor, remaking: Remaking | None = None
    ) -> None:
        self.step = trajectory.n_steps
        self._path = trajectory.path
        self.rehearse: Callable[[Appender], None] | None = None
        self._observer = observer
        self._constants = trajectory.constants
        observer.follow(trajectory.layout)
        specs = creation.specs_of(trajectory.manifest)
        self.arrays = {spec.name: open_array(self._path, spec.name) for spec in specs}
        self._writer = Writer(self._path, self.arrays, specs, trajectory.used_entries())
        none = np.zeros(len(trajectory.layout.names), dtype=np.int64)
        self._initial_counts = trajectory.manifest.get("initial_counts", none + trajectory.initial_count)
        known = trajectory.pauses is not None and self.step > 0
        self._made = (
            trajectory.pauses.counts(self.step - 1) - self._initial_counts if known else none + self.step
        )
        self._next_chunk(rng)
        self._keeper = None if remaking is None else Keeper(remaking, observer, trajectory, self._chunk)

    def before_update(self) -> None:
        """Read the options and the clipping of the coming update; see `Observer.before_update` for refusals."""
        chunk, row, layout = self._chunk, self._chunk.rows, self._observer.layout
        norms = self._observer.before_update(self.step)
        chunk.arrays["gradient_norms"][row] = norms
        active = norms[1] >= 0
        chunk.paused |= not active.all()
        self._activity = active
        factor, uniform = clip_factor(*norms[:, active], layout.dtype, layout.size)
        self._clip = factor, uniform and not self._observer.inside
        self._cut, self._reset = self._observer.cut, self._observer.reset
        for tensor in self._reset:  # its counter begins at zero again
            self._made[tensor] = -self._initial_counts[tensor]
        read_hyperparameters(self._observer.option_rows(), chunk.arrays["hyperparameters"][row])
        if self._keeper is not None:
            self._keeper.before_update(self.step, chunk)

    def after_update(
        self, batches: tuple[MicroBatch, ...], metrics: dict[str, float], penalty: float = 0.0
    ) -> None:
        """Copy the state after the update. The row counts only when it is complete.

        Args:
            batches, metrics: what was announced and logged for it.
            penalty: weight of the announced penalty in its loss.
        """
        chunk, row = self._chunk, self._chunk.rows
        second = chunk.real.get("second_moment")
        theta = chunk.real["parameters"][row] if self._keeper is None else self._keeper.theta
        self._observer.after_update(self.step, theta, None if second is None else second[row])
        self._observer.read_rule({name: values[row] for name, values in chunk.arrays.items()})
        self._made += self._activity
        if self._keeper is not None:
            self._keeper.after_update(self.step + 1, chunk)
        chunk.batches.append(batches)
        chunk.clip.append(self._clip)
        chunk.cut.append(self._cut)
        chunk.reset.append(list(self._reset))
        chunk.metrics.append(metrics)
        chunk.penalty.append(penalty)
        chunk.rows += 1
        self.step += 1
        if self.begins and self.rehearse is not None:
            self.rehearse(self)
        if chunk.full:
            self._flush()

    def finish(self, metrics: dict[str, float]) -> None:
        """Commit the updates of the last chunk, full or not, and the metrics of θ_T; wait until it is done.

        Raises:
            RecordingError: a constant changed; the last chunk is then left out.
        """
        self._observer.check_constants(self._constants)
        end = {} if self._keeper is None else self._keeper.end(self.step)
        if self._chunk.rows:
            self._check_counter()
            self._chunk.states |= end
            self._chunk.statistics = self._observer.statistics.present()
            self._writer.put(self._chunk)
            end = {}
        self._writer.close()
        crc = {name: value for at in end for name, value in write_state(self._path, at, end[at]).items()}
        if metrics or crc:
            journal.append(
                self._path / JOURNAL,
                Commit(self.step, self.step, crc, {}, [], [], [metrics] if metrics else []),
            )

    @property
    def begins(self) -> bool:
        """Has the run made its first two updates just now (or its first, if chunks hold no more)?"""
        return self.step == self._chunk.rows == min(2, self._chunk.capacity)

    def excerpt(self, path: Path) -> None:
        """Write the run so far as a store of its own; only during its first updates.

        Args:
            path: a directory that does not exist yet.
        """
        shutil.copytree(self._path, path, ignore=shutil.ignore_patterns(".lock"))
        specs = creation.specs_of(read_manifest(self._path, KIND))
        arrays = {spec.name: open_array(path, spec.name) for spec in specs}
        writer = Writer(path, arrays, specs, dict.fromkeys(RAGGED, 0))
        states = dict(self._chunk.states)
        try:
            if self._keeper is not None:
                self._chunk.states |= self._keeper.end(self.step)
            self._chunk.statistics = self._observer.statistics.present()
            writer.commit(self._chunk)
        finally:
            self._chunk.states = states
            writer.close()

    def abandon(self) -> None:
        """Stop the writer after the chunks it already has."""
        self._writer.abandon()

    def _next_chunk(self, rng: Tensor) -> None:
        self._chunk = self._writer.take()
        self._chunk.begin(self.step, rng)

    def _flush(self) -> None:
        observer, chunk = self._observer, self._chunk
        observer.check_constants(self._constants)
        state = self._check_counter()
        rng = torch.get_rng_state()
        whole, buffer = b"", state.buffer
        if self._keeper is not None:
            whole, buffer = self._keeper.state(), buffer[:0]
        elif observer.rule is not None:
            whole = pack_state(observer.optimizer, observer.moved)
        chunk.point = ResumePoint(state.count, buffer, rng, whole, state.counts)
        chunk.statistics = observer.statistics.present()
        observer.keep_last()
        self._writer.put(chunk)
        self._next_chunk(rng)

    def _check_counter(self) -> OptimizerState:
        """The optimizer's state, whose counter counts the recorded updates."""
        observer = self._observer
        state = read_state(observer.optimizer, observer.moved, observer.layout, observer.names)
        counts = np.asarray(state.counts or [state.count] * len(self._made))
        expected = self._initial_counts + self._made
        if len(set(observer.names)) > 1:  # SGD keeps no counter
            named = np.array([observer.names[group] for group in observer.layout.group])
            counts = np.where(named == "SGD", expected, counts)
        if observer.counts and not np.array_equal(counts, expected):
            odd = int(np.flatnonzero(counts != expected)[0])
            raise RecordingError(
                "The optimizer's step counter does not count the recorded updates",
                expected=str(expected[odd]),
                got=str(counts[odd]),
                remedy="leave the optimizer's state alone while it is recorded",
            )
        return state
