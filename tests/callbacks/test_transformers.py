"""Runs of the Trainer of transformers: its samples, weights and clipping are recorded by one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import IterableDataset
from transformers import Trainer, TrainingArguments

import explaind
from explaind.callbacks.transformers import RecordCallback
from explaind.errors import RecordingError
from tests.attribution.tiny import Net
from tests.callbacks.named import Named, Noting, check_exact, check_penalized, size_of
from tests.situations import EXACT, refused, situation


class Averaging(Noting):
    """The loss of a micro-batch is its mean, which the Trainer divides by their number."""

    def forward(self, x: Tensor, labels: Tensor | None = None, index: Tensor | None = None) -> Any:
        if index is not None:
            self.note(index)
        logits = super().forward(x)
        return (
            {"logits": logits}
            if labels is None
            else {"loss": F.cross_entropy(logits, labels), "logits": logits}
        )


class Counting(Noting):
    """The loss of a micro-batch is its sum divided by the labels of all of them, which the Trainer counts."""

    def forward(self, x: Tensor, labels: Tensor, index: Tensor, **kwargs: Any) -> dict[str, Tensor]:
        self.note(index)
        logits = Net.forward(self, x)
        loss = F.cross_entropy(logits, labels, reduction="sum") / kwargs.get("num_items_in_batch", len(x))
        return {"loss": loss, "logits": logits}


def trainer_of(
    path: Path, model: torch.nn.Module, callback: RecordCallback, data: Any = None, **options: Any
) -> Trainer:
    """Micro-batches of 2, 2 | 2, 1 samples in random order, for two epochs."""
    arguments = {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "max_grad_norm": 0.3,
        "learning_rate": 0.02,
        "weight_decay": 0.3,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        **options.pop("arguments", {}),
    }
    args = TrainingArguments(output_dir=str(path / "out"), **arguments)
    return Trainer(model=model, args=args, train_dataset=data or Named(), callbacks=[callback], **options)


def cross_entropy_sum(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="sum")


@situation("Trainers", "transformers' Trainer, accumulation and clipping", EXACT)
def test_mean_over_micro_batches(tmp_path: Path) -> None:
    """With evaluation in between, which takes no indices, and worker processes, which draw ahead."""
    model, path = Averaging(), tmp_path / "run.zarr"
    evaluated = {"eval_strategy": "steps", "eval_steps": 1}
    trainer_of(tmp_path, model, RecordCallback(path), eval_dataset=Named(), arguments=evaluated).train()
    assert len(set(map(tuple, model.seen))) > 4, "another order in the second epoch"
    check_exact(path, model.seen, [(2, 1 / 2)] * 4, F.cross_entropy)


def test_recorded_small(tmp_path: Path) -> None:
    """The options of the callback are those of `explaind.record`."""
    model, path = Averaging(), tmp_path / "run.zarr"
    trainer_of(tmp_path, model, RecordCallback(path, keep="replay", every=3)).train()
    train = (Named().inputs, Named().targets)
    certificate = explaind.verify(path, Net().double(), F.cross_entropy, train=train)
    assert certificate.attrs["passed"]
    assert certificate.attrs["remade"] == certificate.attrs["remade_same_bits"] == 4


@situation("Trainers", "transformers' Trainer, a loss per counted label", EXACT)
def test_sum_over_counted_labels(tmp_path: Path) -> None:
    model, path = Counting(), tmp_path / "run.zarr"
    trainer_of(tmp_path, model, RecordCallback(path), arguments={"max_steps": 3}).train()
    check_exact(path, model.seen, [(2, 1 / 4), (2, 1 / 3), (2, 1 / 4)], cross_entropy_sum)


@situation("Trainers", "transformers' Trainer, a last update of fewer micro-batches", EXACT)
def test_a_shorter_last_window_and_a_loss_outside(tmp_path: Path) -> None:
    """Micro-batches of 2, 2, 2 | 1 samples. The Trainer passes its count to a loss outside the model, whose scale we are told."""

    def loss(outputs: dict, labels: Tensor, num_items_in_batch: Tensor) -> Tensor:
        return cross_entropy_sum(outputs["logits"], labels) / num_items_in_batch

    model, path = Averaging(), tmp_path / "run.zarr"
    three = {"gradient_accumulation_steps": 3, "num_train_epochs": 1}
    callback = RecordCallback(path, weight=lambda sizes: 1 / sum(sizes))
    trainer_of(tmp_path, model, callback, compute_loss_func=loss, arguments=three).train()
    check_exact(path, model.seen, [(3, 1 / 6), (1, 1 / 1)], cross_entropy_sum)
    again = RecordCallback(tmp_path / "other.zarr")
    with again, pytest.raises(RecordingError, match="not given its labels"):
        trainer_of(tmp_path, Averaging(), again, compute_loss_func=loss, arguments=three).train()


class AveragingPenalized(Averaging):
    def forward(self, x: Tensor, labels: Tensor | None = None, index: Tensor | None = None) -> Any:
        given = super().forward(x, labels, index)
        return given | ({"loss": given["loss"] + size_of(self)} if "loss" in given else {})


class CountingPenalized(Counting):
    def forward(self, x: Tensor, labels: Tensor, index: Tensor, **kwargs: Any) -> dict[str, Tensor]:
        given = super().forward(x, labels, index, **kwargs)
        return given | {"loss": given["loss"] + size_of(self)}


@situation("Trainers", "transformers' Trainer, a penalty in the loss", EXACT)
@pytest.mark.parametrize(
    "model, loss, weights",
    [(AveragingPenalized, F.cross_entropy, [1.0, 1.0]), (CountingPenalized, cross_entropy_sum, [3.0, 1.0])],
)
def test_a_penalty_has_the_weight_that_the_trainer_gives_it(
    model: type[Noting], loss: Any, weights: list[float], tmp_path: Path
) -> None:
    """Micro-batches of 2, 2, 2 | 1 samples, whose means the Trainer divides by their number, and whose sums it leaves."""
    three = {"gradient_accumulation_steps": 3, "num_train_epochs": 1}
    path = tmp_path / "run.zarr"
    trainer_of(tmp_path, model(), RecordCallback(path, penalty=size_of), arguments=three).train()
    check_penalized(path, weights, loss)


def test_a_penalty_that_is_scaled_otherwise_is_told(tmp_path: Path) -> None:
    def loss(outputs: dict, labels: Tensor, num_items_in_batch: Tensor) -> Tensor:
        share = len(labels) / float(num_items_in_batch)
        return cross_entropy_sum(outputs["logits"], labels) / num_items_in_batch + share * size_of(model)

    model, path = Averaging(), tmp_path / "run.zarr"
    callback = RecordCallback(
        path, penalty=size_of, weight=lambda sizes: 1 / sum(sizes), penalty_weight=lambda sizes: 1.0
    )
    trainer_of(tmp_path, model, callback, compute_loss_func=loss).train()
    check_penalized(path, [1.0] * 4, cross_entropy_sum)
    model = Averaging()
    untold = RecordCallback(tmp_path / "untold.zarr", penalty=size_of, weight=lambda sizes: 1 / sum(sizes))
    with pytest.raises(RecordingError, match="scales the penalty is not known"), untold:
        trainer_of(tmp_path, model, untold, compute_loss_func=loss).train()


def test_a_failure_closes_the_recording_with_what_was_before_it(tmp_path: Path) -> None:
    class Failing(Averaging):
        def forward(self, x: Tensor, labels: Tensor | None = None, index: Tensor | None = None) -> Any:
            if len(self.seen) == 6:
                raise ZeroDivisionError
            return super().forward(x, labels, index)

    callback = RecordCallback(tmp_path / "run.zarr", chunk_steps=1)
    with pytest.raises(ZeroDivisionError), callback:
        trainer_of(tmp_path, Failing(), callback).train()
    with explaind.record(tmp_path / "run.zarr", model := Averaging(), adamw(model), overwrite=True):
        pass  # nothing holds the store any more


def adamw(model: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters())


class Stream(IterableDataset):
    def __iter__(self):
        yield from (Named()[k] for k in range(7))


@situation("Trainers", "transformers' Trainer on a stream of samples", refused("its samples have no index"))
def test_a_stream_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="have no index"):
        trainer_of(
            tmp_path, Averaging(), RecordCallback(tmp_path / "run.zarr"), Stream(), arguments={"max_steps": 2}
        ).train()


@situation(
    "Trainers",
    "transformers' Trainer from a checkpoint",
    refused("its place in the order of samples is unknown"),
)
def test_other_refusals(tmp_path: Path) -> None:
    trainer_of(tmp_path, Averaging(), callback := RecordCallback(tmp_path / "a.zarr"), arguments={
        "max_steps": 1, "save_strategy": "steps", "save_steps": 1,
    }).train()  # fmt: skip
    second = trainer_of(tmp_path, Averaging(), callback, arguments={"max_steps": 2})
    with pytest.raises(RecordingError, match="from a checkpoint"):
        second.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-1"))
    with pytest.raises(RecordingError, match="cannot be resumed"):
        RecordCallback(tmp_path / "b.zarr", resume=True)
