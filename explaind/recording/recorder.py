"""Record a training run through the hooks of the user's own optimizer.

Nothing is replaced or wrapped. Two hooks surround `optimizer.step()`, one is on each gradient; they read, copy and
return. With or without a recorder, training gives the same parameters, bit for bit.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from explaind.errors import RecordingError, RecordingWarning
from explaind.recording import creation
from explaind.recording.appender import Appender
from explaind.recording.closures import Arguments, after_closure
from explaind.recording.directory import Directory, disk_errors
from explaind.recording.forward_passes import generator_state
from explaind.recording.observer import Observer
from explaind.recording.penalties import Announced
from explaind.recording.remaking import make_remaking
from explaind.recording.resume import restore
from explaind.recording.schema import JOURNAL
from explaind.recording.steps import MicroBatch, micro_batch, scalar
from explaind.recording.together import Round, Together
from explaind.recording.trajectory import Trajectory


class Recorder:
    """Records the updates of an optimizer, or of several together, while it is open. Made by `explaind.record`.

    Args:
        path, model, optimizer, config, chunk_steps, overwrite, resume, later, keep, every: as of `explaind.record`.
        rehearse: is called once, after two updates, with a trajectory of these two, and the announced penalty or None.
    """

    def __init__(
        self,
        path: Path | str,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer],
        *,
        config: dict[str, Any] | None,
        chunk_steps: int,
        overwrite: bool,
        resume: bool,
        rehearse: Callable[..., None] | None = None,
        later: str | Iterable[str] = (),
        keep: str = "all",
        every: int = 16,
    ) -> None:
        self.path = Path(path)
        creation.check_config(config)
        self._config, self._chunk_steps = config, chunk_steps
        self._overwrite, self._resume = overwrite, resume
        self._optimizers = (optimizer,) if isinstance(optimizer, Optimizer) else tuple(optimizer)
        one = self._optimizers[0] if len(self._optimizers) == 1 else Together(self._optimizers)
        self._round = Round(self._optimizers)
        self._observer = Observer(model, one, self._gradients_were_reset, later)
        self._remaking = make_remaking(keep, every, one)
        self._directory = Directory(self.path)
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._appender: Appender | None = None
        self._batches: list[MicroBatch] = []
        self._penalty = Announced(model)
        self._metrics: dict[str, float] = {}
        self._rehearse = rehearse
        self._dropped = 0
        self._lost = False

    @property
    def step(self) -> int:
        """Number of complete updates so far, those before a resumption included."""
        return self._appender.step if self._appender else 0

    def batch(self, indices: Any, weights: Any = None, views: Any = None) -> None:
        """Name the samples of the coming update; call it once per backward when gradients are accumulated.

        Args:
            indices: positions in the training set, 1-D integers; repeated samples count repeatedly.
            weights: None if this backward was of loss_fn(model(x[indices]), y[indices]) itself; a number c if it was
                of c times that; a vector w if it was of Σ_k w_k · loss_fn of sample k alone.
            views: None if the model saw the samples as they are; else a whole number per sample from which
                the function in `explaind.Augmented` makes what was seen: a flag, an offset, a seed.

        Raises:
            RecordingError: the indices, weights or views are not that.
        """
        self._check_lost()
        self._batches.append(micro_batch(indices, weights, views))

    def penalty(self, function: Callable[[nn.Module], Tensor], weight: float = 1.0) -> None:
        """Say that the loss of the coming updates has a part that depends on parameters alone: weight · function(model).

        It holds until the next call: once is enough for a penalty that stays, and weight 0 ends it. `explaind.influence` is given
        the same function.

        Args:
            function: model → scalar tensor, such as an L1 norm; several penalties are returned as their sum.
            weight: what it was multiplied by, in all backward passes of an update together.

        Raises:
            RecordingError: it is no such function, is random, or is another one than before; or updates are to be made again.
        """
        if self._remaking is not None:
            raise RecordingError(
                'A penalty cannot be recorded with keep="replay", since updates are made again from their batches alone',
                expected='keep="all"',
                got='keep="replay"',
                remedy='record with keep="all", or without the penalty',
            )
        self._penalty.announce(function, weight)

    def log(self, **scalars: float | Tensor) -> None:
        """Keep numbers that describe θ_s, the parameters before the coming update (after the last: θ_T)."""
        self._metrics.update({name: scalar(value) for name, value in scalars.items()})

    def __enter__(self) -> Recorder:
        self._directory.lock(overwrite=self._overwrite, resume=self._resume)
        try:
            self._rng = torch.get_rng_state()
            if self._resume and (self.path / JOURNAL).exists():  # otherwise there is nothing to continue
                self._continue()
            for optimizer in self._optimizers:
                self._handles += [
                    optimizer.register_step_pre_hook(self._before),
                    optimizer.register_step_post_hook(self._after),
                ]
            self._observer.attach()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._finish(complete=error is None)
        except Exception as failure:
            if error is None:
                raise
            error.add_note(f"The recording could not be closed either: {failure}")
        finally:
            self._release()

    def _continue(self) -> None:
        """Go back to the last whole chunk; without one, start afresh."""
        trajectory = restore(self.path, self._observer, self._remaking)
        if trajectory is None:
            self._directory.empty()
        else:
            self._appender = Appender(trajectory, self._observer, torch.get_rng_state(), self._remaking)

    def _begin(self, moved: set[int]) -> None:
        """Create the store at the first update, when it is known which parameters receive gradients."""
        with disk_errors(self.path):
            creation.create_store(
                self.path,
                self._observer,
                moved | {id(parameter) for parameter in self._observer.later.values()},
                config=self._config,
                chunk_steps=self._chunk_steps,
                entries=sum(len(batch.indices) for batch in self._batches),
                rng_bytes=len(self._rng),
                generator_bytes=len(generator_state(self._observer.forward.device)),
                remaking=self._remaking,
            )
        self._appender = Appender(Trajectory(self.path), self._observer, self._rng, self._remaking)
        if self._rehearse is not None:
            self._appender.rehearse = self._excerpt

    def _excerpt(self, appender: Appender) -> None:
        """Hand the first two updates, as a trajectory of their own, to the rehearsal."""
        with tempfile.TemporaryDirectory(prefix="explaind-") as folder:
            appender.excerpt(Path(folder) / "excerpt.zarr")
            self._rehearse(Path(folder) / "excerpt.zarr", self._penalty.function)

    def _before(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Arguments | None:
        """Look at what the update starts from, after the closure if `step` was given one."""
        self._skips = False
        instead = after_closure(args, kwargs)
        self._begin_update(optimizer)
        return instead

    def _begin_update(self, optimizer: Optimizer) -> None:
        if getattr(optimizer, "grad_scale", None) is not None:
            raise RecordingError(
                "A fused optimizer that unscales gradients by itself cannot be recorded",
                expected="gradients as the update uses them",
                got="scaled ones",
                remedy="call scaler.unscale_(optimizer) before scaler.step(optimizer)",
            )
        overflow = getattr(optimizer, "found_inf", None)
        if overflow is not None and bool(overflow):
            self._skips = True  # a fused optimizer is called by GradScaler all the same, and does nothing
            return
        self._check_lost()
        if not self._round.enter(optimizer, self.step):
            return
        if not self._batches:
            raise RecordingError(
                f"Update {self.step} has no batch",
                expected="a call of batch(indices) between backward() and optimizer.step()",
            )
        if self._appender is None:
            self._begin(self._observer.with_gradient())
        self._appender.before_update()
        forward = self._observer.forward_passes(self.step, len(self._batches))
        self._batches = [
            replace(batch, forward=one) for batch, one in zip(self._batches, forward, strict=True)
        ]

    def _after(self, optimizer: Optimizer, *_: Any) -> None:
        if self._skips or not self._round.leave(optimizer):
            return
        batches, metrics = tuple(self._batches), self._metrics
        self._batches, self._metrics = [], {}
        self._appender.after_update(batches, metrics, self._penalty.weight)

    def _gradients_were_reset(self, passes: int) -> None:
        """These backward passes reached no update, so their batches do not either; a batch announced since then stays."""
        discarded = min(passes, len(self._batches))
        self._batches = self._batches[discarded:]
        self._observer.forward.discard(passes)
        self._dropped += discarded
        self._lost = self._lost or self._observer.has_moved()

    def _check_lost(self) -> None:
        if self._lost:
            raise RecordingError(
                f"The parameters moved after update {self.step}, but not by the optimizer that is recorded"
                if self.step
                else "The parameters move, but not by the optimizer that is recorded",
                expected="every update made by the optimizer that was given to record()",
                got="gradients that were used and reset without its step()",
                remedy="give record() the optimizer that trains, and do not make another one inside the block",
            )

    def _finish(self, *, complete: bool) -> None:
        """Commit what is left, and mark the store as complete if training ended by itself."""
        left, self._batches = len(self._batches), []
        self._dropped += left
        if complete:
            self._check_lost()
        if self._appender is None:
            if not complete:
                return
            self._check_nothing_happened()
            self._begin({id(p) for p in self._observer.held if p.requires_grad})
        with disk_errors(self.path):
            self._appender.finish(self._metrics)
            if complete:
                self._observer.check_end(self.step)
                self._directory.complete(self._appender.arrays, self.step, dropped=self._dropped)
        if complete and left and self._observer.has_gradient():
            warnings.warn(
                f"{left} announced batches entered no update: the block ended before optimizer.step(). They are not part of the "
                "recording.",
                RecordingWarning,
                stacklevel=3,
            )

    def _check_nothing_happened(self) -> None:
        """A block without a recorded update is complete only if nothing was trained in it."""
        if self._dropped:
            raise RecordingError(
                "No update was recorded",
                expected="step() of the optimizer that was given to record()",
                got=f"{self._dropped} announced batches, none of which it used",
                remedy="give record() the optimizer that trains",
            )
        self._observer.check_end(0)

    def _release(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._observer.detach()
        if self._appender is not None:
            self._appender.abandon()
        self._directory.release()
