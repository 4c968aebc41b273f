"""Learning-rate schedules: the factor on the learning rate at every update, and the rates of pretraining."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from explaind.training.batches import Order

__all__ = ["Schedule", "learning_rate", "rate"]


class Schedule:
    """(step) → sets the learning rate of that update: the configured one times the schedule's factor."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, training: Mapping[str, Any], order: Order, steps: int
    ) -> None:
        self._groups = [(group, group["lr"]) for group in optimizer.param_groups]
        self._factor = rate(training, order.per_epoch, steps)

    def __call__(self, step: int) -> None:
        for group, base in self._groups:
            group["lr"] = base * self._factor(step)


def rate(training: Mapping[str, Any], per_epoch: int, steps: int) -> Callable[[int], float]:
    """The factor on the learning rate at a step.

    Args:
        training: `config["train"]`: `schedule` "constant", or "triangular": 0 to 1 at `peak_epoch` and back to 0 at the end.
        per_epoch, steps: updates of an epoch and of the run.
    """
    if training["schedule"] == "constant":
        return lambda step: 1.0
    peak = min(training["peak_epoch"] * per_epoch, steps)
    return lambda step: step / peak if step < peak else (steps - step) / max(steps - peak, 1)


def learning_rate(config: Mapping[str, Any], step: int) -> float:
    """α_s: linear warm-up, constant, then linear decay, which reaches a share of the peak after the last
    update.

    Args:
        config: `optimizer.lr` (the peak) and `train.{steps,warmup,decay,final}`: updates in all, of warm-up and of decay, and
            the share that is left at the end.
        step: s.
    """
    train, peak = config["train"], config["optimizer"]["lr"]
    if step < train["warmup"]:
        return peak * (step + 1) / train["warmup"]
    left = max(0, train["steps"] - step)
    if left >= train["decay"]:
        return peak
    return peak * (train["final"] + (1 - train["final"]) * left / train["decay"])
