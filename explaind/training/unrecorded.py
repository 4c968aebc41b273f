"""Training without a recorder: what a job that was killed needs to go on stands in the recorder's place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from explaind.experiments.experiment import Experiment
from explaind.runtime.durable import section
from explaind.runtime.training_state import restore_training_state, training_state
from explaind.training.loop import train_rows

__all__ = ["train_unrecorded"]


def train_unrecorded(
    experiment: Experiment, optimizer: torch.optim.Optimizer, training: Mapping[str, Any]
) -> Iterator[tuple[float, ...]]:
    """All rows of `train_rows` from θ_0 on; what an earlier attempt of the job has trained is not trained again.

    Raises:
        TrainingError: the loss became NaN or infinite.
    """
    kept, place = section("training"), _Place()
    rows: list[tuple[float, ...]] = []
    if (state := kept.load()) is not None:
        rows, place.step = state["rows"], state["step"]
        restore_training_state(experiment.model, optimizer, state["training"])
    yield from rows
    for row in train_rows(experiment, optimizer, training, place if place.step else None):
        step = len(
            rows
        )  # update `step` was not made yet: model and optimizer are before it, and so are the rows
        kept.offer(
            lambda step=step: {
                "rows": rows,
                "step": step,
                "training": training_state(experiment.model, optimizer),
            }
        )
        rows.append(row)
        yield row


class _Place:
    """As much of a recorder as `train_rows` asks for: the step to go on from. Nothing is recorded."""

    step = 0

    def batch(self, indices: Tensor, *, views: Tensor | None = None) -> None:
        """Samples of an update."""

    def log(self, **metrics: float) -> None:
        """Metrics of an update."""
