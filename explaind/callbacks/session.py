"""A recording that is opened and closed by the hooks of a trainer, and the micro-batches that wait for their update."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from explaind.attribution.record import record
from explaind.errors import RecordingError
from explaind.recording.loaders import IndexLog, index_log
from explaind.recording.recorder import Recorder


class Session:
    """One recording, open from `begin` to `end`.

    Args:
        path, options: as of `explaind.record`. `resume` is refused: a trainer keeps its own count of updates.
        penalty: the part of every loss that depends on parameters alone, model → scalar; None without one.
    """

    def __init__(
        self, path: Path | str, options: dict[str, Any], penalty: Callable[[nn.Module], Tensor] | None = None
    ) -> None:
        if options.get("resume"):
            raise RecordingError(
                "A trainer's run cannot be resumed from its recording",
                expected="a new recording",
                got="resume=True",
                remedy="train from the start, with overwrite=True",
            )
        self.path, self._options, self._penalty = Path(path), options, penalty
        self.run: Recorder | None = None
        self.pending: list[list[int]] = []
        self._log: IndexLog | None = None

    def follow(self, loader: Any) -> Any:
        """Take indices from this DataLoader from now on; returns it.

        Raises:
            RecordingError: as of `explaind.indexed`.
        """
        self._log = index_log(loader)
        return loader

    def begin(self, model: nn.Module, optimizer: Optimizer) -> None:
        """Open the recording.

        Raises:
            RecordingError, StoreError, ConfigError: as of `explaind.record`.
        """
        self.pending = []
        recorder = record(self.path, model, optimizer, **self._options)
        self.run = recorder.__enter__()

    def next_indices(self) -> list[int]:
        """Indices of the batch that comes next."""
        assert self._log is not None, "follow() comes before the first batch"
        return self._log.pop()

    def announce(self, weight: float) -> None:
        """Name the pending micro-batches of the coming update, each of which was differentiated with this weight."""
        assert self.run is not None
        for indices in self.pending:
            self.run.batch(indices, weight)
        self.pending = []

    @property
    def penalized(self) -> bool:
        """Has the loss a penalty?"""
        return self._penalty is not None

    def penalize(self, weight: float) -> None:
        """Say what the penalty is multiplied by, in all backward passes of the coming update together."""
        assert self.run is not None
        if self._penalty is not None:
            self.run.penalty(self._penalty, weight)

    def end(self, error: BaseException | None = None) -> None:
        """Close the recording, as complete unless training ended with an error; a second call does nothing."""
        run, self.run = self.run, None
        if run is not None:
            run.__exit__(type(error) if error else None, error, None)


def refuse_start(step: int) -> None:
    """Refuse training that goes on from a checkpoint."""
    if step:
        raise RecordingError(
            "Training goes on from a checkpoint, whose place in the order of samples is not recorded",
            expected="training from its start",
            got=f"update {step}",
            remedy="train from the start, or load the weights and begin a new training",
        )


def refuse_processes(processes: int) -> None:
    """Refuse training in several processes, or on several devices of one."""
    if processes > 1:
        raise RecordingError(
            "Training on several devices cannot be recorded",
            expected="one process on one device, which sees every sample of an update",
            got=f"{processes}",
            remedy="train on one device; gradient accumulation gives the same batches",
        )
