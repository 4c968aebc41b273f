"""A small recording, read as if every update were on disk: what it does not hold is made again, a segment at a time."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from explaind.attribution.remade import Remade
from explaind.attribution.remade_notes import save_notes, summary
from explaind.attribution.remaker import Remaker, Segment
from explaind.errors import QueryError
from explaind.features.functional import Forward
from explaind.features.targets import Loss
from explaind.recording.trajectory import Trajectory

__all__ = ["SEGMENTS", "ReplayedTrajectory", "open_run", "report"]

SEGMENTS = 2
"""Segments in memory: a walk in either direction then makes each of them once."""


class ReplayedTrajectory(Trajectory):
    """A trajectory recorded with keep="replay" whose updates are made again when they are read.

    Args:
        path: the store.
        model, loss, train, forward: as for `explaind.influence`.

    Attributes:
        remade: what was made again so far, by its first update.

    Memory is that of `SEGMENTS` segments: 2 · k · D numbers each (D each for SGD), k updates between two kept states.

    Raises:
        StoreError, QueryError, DataError: the recording is damaged, or the model, loss or samples do not fit it.
    """

    def __init__(
        self, path: Path | str, model: nn.Module, loss: Loss, train: Any, forward: Forward | None = None
    ) -> None:
        super().__init__(path)
        self.remade: dict[int, Remade] = {}
        self._segments: OrderedDict[int, Segment] = OrderedDict()
        self._remaker = Remaker(self, model, loss, train, forward) if self.n_steps else None

    def held_bytes(self, start: int, stop: int) -> int:
        """Most memory that the segments take which hold the updates [start, stop)."""
        if self._remaker is None or self.every is None or stop <= start:
            return 0
        first = self.kept.segment(max(0, start - 1), self.n_steps)[0]
        last = self.kept.segment(stop - 1, self.n_steps)[1]
        rows = min(last - first, SEGMENTS * self.every)
        return rows * len(self._remaker.vectors) * self.layout.size * self.layout.dtype.itemsize

    def _vector(self, name: str, s: int) -> Tensor:
        segment = self._segment(s)
        return segment.vectors[name][s - segment.start]

    def _segment(self, s: int) -> Segment:
        start, stop = self.kept.segment(s, self.n_steps)
        if start in self._segments:
            self._segments.move_to_end(start)
            return self._segments[start]
        while len(self._segments) >= SEGMENTS:  # before the next one takes its memory
            self._segments.popitem(last=False)
        assert self._remaker is not None, "a run without updates has no such row"
        made = self._remaker.make(start, stop)
        self._segments[start], self.remade[start] = made, made.report
        return made


def open_run(
    run: Trajectory | Path | str, model: nn.Module, loss: Loss | None, train: Any, forward: Forward | None
) -> Trajectory:
    """The recording with every update in it, stored or to be made again.

    Raises:
        StoreError: the recording is missing or damaged.
        QueryError: it keeps some states only, and what makes the others again is not given.
    """
    trajectory = run if isinstance(run, Trajectory) else Trajectory(Path(run))
    if trajectory.every is None or isinstance(trajectory, ReplayedTrajectory):
        return trajectory
    if train is None or loss is None:
        raise QueryError(
            f"The recording {trajectory.path} keeps one state in {trajectory.every} updates; those between are made again from "
            "their batches.",
            expected="the training samples and the loss function",
            got="neither" if train is None and loss is None else "one of them",
            remedy="Pass train=(inputs, targets) and loss_fn.",
        )
    return ReplayedTrajectory(trajectory.path, model, loss, train, forward)


def report(run: Trajectory) -> dict[str, Any]:
    """The attributes that an answer has about updates made again, which are noted beside the recording; none for other runs."""
    if not isinstance(run, ReplayedTrajectory):
        return {}
    save_notes(run, run.remade)
    return summary(run.remade)
