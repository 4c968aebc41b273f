"""The training loop that every experiment shares: with or without a recorder, on all samples or on some of them.

Notation: θ_s are the parameters before update s. The training loss and accuracy of row s come from the very forward pass whose
gradient makes update s, so for mini-batches they are those of the batch; the test set is evaluated every few steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from explaind.errors import TrainingError
from explaind.experiments.experiment import Experiment
from explaind.runtime.progress import track
from explaind.training.batches import Order
from explaind.training.schedule import Schedule

__all__ = ["METRICS", "train_rows", "train_silently"]

METRICS = ("step", "train_loss", "train_accuracy", "test_loss", "test_accuracy")


def train_rows(
    experiment: Experiment,
    optimizer: torch.optim.Optimizer,
    training: Mapping[str, Any],
    run: Any | None = None,
) -> Iterator[tuple[float, ...]]:
    """Train from step `run.step` (0 without a recorder); yields a row of `METRICS` for each θ_s, NaN where not evaluated.

    Args:
        experiment, optimizer: model, data and loss; and what moves the model.
        training: `config["train"]`.
        run: an open recorder.

    Raises:
        TrainingError: the loss became NaN or infinite.
    """
    order = Order(len(experiment.train[1]), training, experiment.seed)
    schedule = Schedule(optimizer, training, order, training["max_steps"])
    first = 0 if run is None else run.step
    description = f"{'training' if run is None else 'recording'} {experiment.name}, seed {experiment.seed}"
    steps = range(first, training["max_steps"] + 1)
    for step in track(steps, total=len(steps), description=description):
        indices, views = order(step)
        inputs, targets = experiment.seen(indices, views)
        outputs = experiment.model(inputs)
        loss = experiment.loss(outputs, targets)
        ends = step == training["max_steps"]
        evaluated = ends or step % training["evaluate_every"] == 0
        tested = _evaluate(experiment) if evaluated else (math.nan, math.nan)
        row = (step, *_score(outputs.detach(), loss.detach(), targets), *tested)
        _check_finite(loss, step, experiment)
        yield row
        stop = training["stop_accuracy"]
        # Where the test set was not evaluated its accuracy is NaN, and no comparison with NaN holds.
        if ends or (stop is not None and row[2] >= stop and row[4] >= stop):
            return  # θ_s is final: no update s
        optimizer.zero_grad()
        loss.backward()
        schedule(step)
        if run is not None:
            run.batch(indices, views=views)
            run.log(
                **{
                    name: value
                    for name, value in zip(METRICS[1:], row[1:], strict=True)
                    if not math.isnan(value)
                }
            )
        optimizer.step()


def train_silently(
    experiment: Experiment,
    optimizer: torch.optim.Optimizer,
    training: Mapping[str, Any],
    order: Order,
    steps: int,
) -> None:
    """Train for `steps` updates in a given order, without metrics.

    Raises:
        TrainingError: the loss became NaN or infinite.
    """
    schedule = Schedule(optimizer, training, order, steps)
    for step in range(steps):
        indices, views = order(step)
        if len(indices) == 0:  # the only sample of this batch is left out: without it there is no update
            continue
        inputs, targets = experiment.seen(indices, views)
        loss = experiment.loss(experiment.model(inputs), targets)
        _check_finite(loss, step, experiment)
        optimizer.zero_grad()
        loss.backward()
        schedule(step)
        optimizer.step()


def _check_finite(loss: Tensor, step: int, experiment: Experiment) -> None:
    if not torch.isfinite(loss):
        raise TrainingError(
            f"The training loss is {loss.item()} before update {step}.",
            expected="a finite loss",
            got=f"{loss.item()} from seed {experiment.seed}",
            remedy="Lower the learning rate, or check the data.",
        )


def _evaluate(experiment: Experiment) -> tuple[float, float]:
    """Loss and accuracy on the test set."""
    targets = experiment.test[1]
    outputs = experiment.outputs(experiment.test[0])
    return _score(outputs, experiment.loss(outputs, targets), targets)


def _score(outputs: Tensor, loss: Tensor, targets: Tensor) -> tuple[float, float]:
    """Loss and share of samples whose largest output is the target's."""
    return loss.item(), (outputs.argmax(-1) == targets).double().mean().item()
