"""Fills the rows and states of a small recording, update by update (`keep="replay"`, see `kept` and `remaking`)."""

from __future__ import annotations

import torch

from explaind.errors import RecordingError
from explaind.recording.kept import pack
from explaind.recording.observer import Observer
from explaind.recording.remaking import Remaking
from explaind.recording.state import flat_copy
from explaind.recording.trajectory import Trajectory
from explaind.recording.writer import Chunk
from explaind.store import crc32c

__all__ = ["Keeper"]


class Keeper:
    """Keeps what makes updates again, in the place of θ after each of them.

    Args:
        remaking: of the run's optimizer.
        observer: that follows the run's parameters.
        trajectory: the store as it is now.
        chunk: the first that is filled.

    Attributes:
        theta: θ_s [D] on the CPU after the last update.
    """

    def __init__(self, remaking: Remaking, observer: Observer, trajectory: Trajectory, chunk: Chunk) -> None:
        self._remaking, self._observer = remaking, observer
        self.theta = torch.empty(observer.layout.size, dtype=observer.layout.dtype)
        flat_copy(observer.moved, self.theta)
        self._checksum = crc32c(self.theta.numpy())
        self._kept = trajectory.kept.steps[-1]
        if trajectory.n_steps == 0:
            chunk.states[0] = pack(observer.optimizer, observer.moved)

    def before_update(self, step: int, chunk: Chunk) -> None:
        """Record by what gradients were multiplied since backward.

        Raises:
            RecordingError: the update could not be made again.
        """
        self._remaking.check_options(step)
        if self._observer.reset:
            raise RecordingError(
                f'The optimizer\'s state was emptied before update {step}, which keep="replay" does not make again',
                expected="a state that is as the update before it left it",
                got=f"{len(self._observer.reset)} tensors without one",
                remedy='record with keep="all"',
            )
        watch, moved = self._observer.gradients, self._observer.moved
        chunk.arrays["clip_scales"][chunk.rows] = self._remaking.factors(step, watch, moved)

    def after_update(self, step: int, chunk: Chunk) -> None:
        """Record the checksum of `theta`, and all of the state if it is its turn.

        Args:
            step: of the update that comes next.
            chunk: whose next row is that of the update before it.
        """
        self._checksum = chunk.arrays["checksums"][chunk.rows] = crc32c(self.theta.numpy())
        if step % self._remaking.every == 0:
            chunk.states[step] = self.state()
            self._kept = step

    def state(self) -> bytes:
        """All that training goes on from."""
        return pack(self._observer.optimizer, self._observer.moved, self.theta)

    def end(self, step: int) -> dict[int, bytes]:
        """θ after the last update, unless it is kept already: no update starts there, so nothing else is needed."""
        # An update that failed has changed θ already, and is not part of the recording.
        intact = crc32c(self.theta.numpy()) == self._checksum
        return {step: pack(None, theta=self.theta)} if intact and self._kept != step else {}
