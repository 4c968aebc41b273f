"""Record what the Trainer of Hugging Face's transformers does.

    trainer = Trainer(…, callbacks=[RecordCallback("run.zarr")])

An update of the Trainer goes through n micro-batches. What it differentiates of each is one of

    L_sum(micro-batch) / N       where the model takes `num_items_in_batch` = N, the number of labels in all n of them,
    L_mean(micro-batch) / n      where it does not,

so that `loss_fn`, with which the run is explained, has the reduction "sum" or "mean", and the recorded weights are 1/N or 1/n.
Its clipping (`max_grad_norm`, on by default) is seen by the recorder. A penalty in the loss is differentiated once for each
micro-batch, so its weight in an update is n where the loss is divided by N, and 1 where it is divided by n.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from explaind.callbacks.session import Session, refuse_processes, refuse_start
from explaind.errors import RecordingError

__all__ = ["RecordCallback"]

Weight = Callable[[Sequence[int]], float]
"""Sizes of the micro-batches of an update → the number by which each one's loss_fn was multiplied."""


class RecordCallback(TrainerCallback):
    """Records every update of a `transformers.Trainer`, from the beginning of its training to the end.

    Args:
        path: directory of the store to create.
        weight: only for a loss that the Trainer takes from `compute_loss_func`: sizes of an update's micro-batches → the
            number by which each one's `loss_fn` was multiplied.
        penalty: the part of every micro-batch's loss that depends on parameters alone, model → scalar, such as an L1 norm;
            `explaind.influence` is given the same function. The Trainer divides it by the number of micro-batches only where it
            divides their losses.
        penalty_weight: for a Trainer that scales it otherwise: sizes of an update's micro-batches → the number by which it was
            multiplied in all of them together.
        options: of `explaind.record`: config, chunk_steps, overwrite, loss_fn, train, forward, ….

    The Trainer does not tell its callbacks when training fails; `with callback: trainer.train()` closes the recording then, with
    every update before the failure.

    Raises:
        RecordingError: at the beginning of training: a start from a checkpoint, several processes or devices, batches without
            indices, noise in embeddings, and what `explaind.record` refuses.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        weight: Weight | None = None,
        penalty: Callable[[nn.Module], Tensor] | None = None,
        penalty_weight: Weight | None = None,
        **options: Any,
    ) -> None:
        self._session = Session(path, options, penalty)
        self._weight, self._penalty_weight = weight, penalty_weight
        self._hook: torch.utils.hooks.RemovableHandle | None = None
        self._items: float | None = None
        self._outside = False

    def __enter__(self) -> RecordCallback:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(error)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the recording."""
        self._close(RecordingError("Training was begun again"))  # left open by a training that failed
        refuse_start(state.global_step)
        refuse_processes(max(args.world_size, args.n_gpu))
        if args.neftune_noise_alpha is not None:
            raise RecordingError(
                "Noise that is added to embeddings cannot be recorded",
                expected="neftune_noise_alpha=None",
                got=f"neftune_noise_alpha={args.neftune_noise_alpha}",
                remedy="train without it",
            )
        model, optimizer = kwargs["model"], kwargs["optimizer"]
        self._session.follow(kwargs["train_dataloader"])
        self._session.begin(model, getattr(optimizer, "optimizer", optimizer))  # Accelerate wraps it
        self._smoothed = args.label_smoothing_factor != 0
        self._hook = model.register_forward_pre_hook(self._look, with_kwargs=True)

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A micro-batch was differentiated, and others of its update follow."""
        if self._session.run is not None:
            self._session.pending.append(self._session.next_indices())

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The last micro-batch of an update was differentiated."""
        if self._session.run is not None:
            self._session.pending.append(self._session.next_indices())
            sizes = [len(indices) for indices in self._session.pending]
            self._session.announce(self._weight_of(sizes))
            self._session.penalize(self._penalty_weight_of(sizes))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the recording."""
        self._close()

    def _close(self, error: BaseException | None = None) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        self._session.end(error)

    def _look(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """How the Trainer scales the loss of this forward pass shows in what it passes to the model."""
        if module.training:
            items = kwargs.get("num_items_in_batch")
            self._items = None if items is None else float(items)
            self._outside = kwargs.get("labels") is None and not self._smoothed

    def _weight_of(self, sizes: list[int]) -> float:
        if self._weight is not None:
            return float(self._weight(sizes))
        if self._outside:
            raise RecordingError(
                "The model is not given its labels, so the loss and its scale are not the model's",
                expected="labels among the inputs of the model",
                got="a loss computed outside (compute_loss_func)",
                remedy="pass weight=, a function of the sizes of an update's micro-batches: lambda sizes: 1 / sum(sizes) if the "
                "loss is a sum over samples divided by num_items_in_batch, with a loss_fn that sums",
            )
        return 1 / self._items if self._items is not None else 1 / len(sizes)

    def _penalty_weight_of(self, sizes: list[int]) -> float:
        if self._penalty_weight is not None:
            return float(self._penalty_weight(sizes))
        if self._outside and self._session.penalized:
            raise RecordingError(
                "The model is not given its labels, so how the Trainer scales the penalty is not known",
                expected="penalty_weight=, a function of the sizes of an update's micro-batches",
                got="none",
                remedy="pass lambda sizes: len(sizes) if each loss has the penalty undivided, lambda sizes: 1.0 if it is divided "
                "by their number",
            )
        return 1.0 if self._items is None else float(len(sizes))
