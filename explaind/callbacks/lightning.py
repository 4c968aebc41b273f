"""Record what the Trainer of Lightning does.

    trainer = lightning.Trainer(…, callbacks=[RecordCallback("run.zarr")])

Lightning divides the loss that `training_step` returns by `accumulate_grad_batches`, also where an epoch ends before there
are that many: this is the weight of every micro-batch. Its clipping (`gradient_clip_val`) is seen by the recorder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch import Callback
from torch import Tensor, nn

from explaind.callbacks.session import Session, refuse_processes, refuse_start
from explaind.errors import RecordingError

__all__ = ["RecordCallback"]


class RecordCallback(Callback):
    """Records every update of a `lightning.Trainer`, from the beginning of its training to the end.

    Args:
        path: directory of the store to create.
        model: the module that is explained later, which holds all trained parameters; by default the LightningModule.
        penalty: the part of every batch's loss that depends on parameters alone, model → scalar, such as an L1 norm;
            `explaind.influence` is given the same function.
        options: of `explaind.record`: config, chunk_steps, overwrite, loss_fn, train, forward, ….

    Raises:
        RecordingError: at the beginning of training: manual optimization, several optimizers, training loaders or devices, a
            start from a checkpoint, batches without indices, and what `explaind.record` refuses.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        model: nn.Module | None = None,
        penalty: Callable[[nn.Module], Tensor] | None = None,
        **options: Any,
    ) -> None:
        self._session = Session(path, options, penalty)
        self._share = 0.0
        self._model = model
        self._loader: Any = None
        self._indices: list[int] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the indices of training batches from the loader, which Lightning makes before training begins."""
        if stage != "fit":
            return
        refuse_processes(trainer.world_size)
        if not pl_module.automatic_optimization:
            raise RecordingError(
                "Manual optimization cannot be recorded by a callback, which does not see what was differentiated",
                expected="automatic_optimization = True",
                got="automatic_optimization = False",
                remedy="use explaind.record and explaind.indexed in the training step",
            )
        # The first pass over the loader begins before any hook of training, so the loader is met where it is made.
        source = trainer.fit_loop._data_source
        made = type(source).dataloader
        source.dataloader = lambda: self._followed(made(source))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the trainer as it was."""
        vars(trainer.fit_loop._data_source).pop("dataloader", None)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the recording."""
        refuse_start(trainer.global_step)
        used = trainer.train_dataloader
        if used is not self._loader:
            raise RecordingError(
                "The training batches do not come from the DataLoader that was made for them",
                expected="one DataLoader",
                got=type(used).__name__,
                remedy="train with one DataLoader, and without overfit_batches",
            )
        if len(trainer.optimizers) != 1:
            raise RecordingError(
                "Several optimizers cannot be recorded together",
                expected="one",
                got=str(len(trainer.optimizers)),
                remedy="return one optimizer, with parameter groups, from configure_optimizers",
            )
        self._session.begin(pl_module if self._model is None else self._model, trainer.optimizers[0])

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The next batch is used, or skipped by the module."""
        self._indices = self._session.next_indices()

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """The batch is not skipped."""
        if self._session.run is not None and self._indices is not None:
            share = 1 / trainer.accumulate_grad_batches
            self._session.run.batch(self._indices, share)
            self._share += share
            self._session.penalize(self._share)
            self._indices = None

    def on_before_zero_grad(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        """An update begins."""
        self._share = 0.0
        if self._session.run is not None:
            self._session.penalize(0.0)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the recording."""
        self._session.end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the recording, which holds every update before the exception."""
        self._session.end(exception)

    def _followed(self, loader: Any) -> Any:
        self._loader = self._session.follow(loader)
        return loader
