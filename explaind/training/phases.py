"""The phases of a run: when it memorised, generalised and stopped, and the windows of steps that the figures look at.

Notation: θ_0…θ_T are the parameters of a run of T updates; a window [start, stop) holds the updates start…stop-1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pandas as pd
from torch import nn

from explaind.config.studies import PHASES
from explaind.errors import ConfigError
from explaind.experiments.experiment import Experiment

__all__ = ["step_of", "summarise", "windows"]


def summarise(table: pd.DataFrame, experiment: Experiment, training: Mapping[str, Any]) -> dict[str, Any]:
    """What one run came to.

    Args:
        table: metrics of θ_0…θ_T.
        experiment: holds the seed and the trained model.
        training: `config["train"]`.

    Returns:
        `seed`; `steps` = T; `reached`: the stopping rule was met, or there is none; `memorization_step`,
        `generalization_step`: first step at which train (test) accuracy exceeds its threshold, or None; `stop_step`: T if
        reached, else None; final `train_accuracy` and `test_accuracy`; `threads`;
        `parameters_sha256` of the bytes of θ_T.
    """
    final = table.iloc[-1]
    stop = training["stop_accuracy"]
    reached = stop is None or bool(min(final.train_accuracy, final.test_accuracy) >= stop)
    steps = int(final.step)
    return {
        "seed": experiment.seed,
        "steps": steps,
        "reached": reached,
        "memorization_step": _first(table, table.train_accuracy > training["memorized_accuracy"]),
        "generalization_step": _first(table, table.test_accuracy > training["generalized_accuracy"]),
        "stop_step": steps if reached else None,
        "train_accuracy": float(final.train_accuracy),
        "test_accuracy": float(final.test_accuracy),
        "threads": int(training["threads"]),
        "parameters_sha256": _digest(experiment.model),
    }


def windows(config: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """The windows [start, stop) of updates for a run of T = `summary["steps"]` updates.

    The configured positions are those of a run that stops at `reference_stop`; they scale by T / reference_stop (rounded), so
    that a seed which learns slower is seen in the same phases. The width does not scale. A window that would pass the end is
    moved back to end with the run.

    Args:
        config: resolved configuration; read is `study.windows`.
        summary: of the recorded run.

    Raises:
        ConfigError: the run is shorter than a window.
    """
    plan = config["study"]["windows"]
    steps, width = int(summary["steps"]), int(plan["width"])
    if steps < width:
        raise ConfigError(
            "The run is too short for the configured windows.",
            expected=f"at least {width} updates",
            got=f"{steps}",
            remedy="Lower study.windows.width, or train longer.",
        )
    starts = {
        name: min(round(position * steps / plan["reference_stop"]), steps - width)
        for name, position in plan["positions"].items()
    }
    return {name: (start, start + width) for name, start in starts.items()}


def step_of(checkpoint: str, phases: Mapping[str, Any]) -> int:
    """The step of a named checkpoint: so many updates come before it.

    Args:
        checkpoint: one of `explaind.config.studies.PHASES`, where "transition" is halfway from memorisation to
            generalisation (rounded down); the name of a window, for its first update; or a number of updates.
        phases: JSON of the recorded run, as `explaind.stages.phases` writes it.

    Raises:
        ConfigError: no such name, a phase that this run did not reach, or a step beyond its end.
    """
    last, begins, ends = (phases[key] for key in ("steps", "memorization_step", "generalization_step"))
    middle = None if begins is None or ends is None else (begins + ends) // 2
    named = dict(zip(PHASES, (begins, middle, ends, last), strict=True))
    named |= {name: start for name, (start, _) in phases["windows"].items()}
    if not checkpoint.isdecimal() and checkpoint not in named:
        raise ConfigError(
            f"No checkpoint is called {checkpoint!r}.",
            expected=f"{', '.join(named)}, or a number of updates",
            got=checkpoint,
            remedy="Correct the checkpoints of study.transplant or study.swap.",
        )
    step = int(checkpoint) if checkpoint.isdecimal() else named[checkpoint]
    if step is None or step > last:
        raise ConfigError(
            f"The explained run has no checkpoint {checkpoint!r}.",
            expected=f"a step from 0 to {last}, or a phase that this run reached",
            got="a phase that it did not reach" if step is None else f"step {step}",
            remedy="Name another checkpoint, or train longer (train.max_steps).",
        )
    return int(step)


def _first(table: pd.DataFrame, condition: pd.Series) -> int | None:
    """The first step at which a condition holds."""
    return int(table.step[condition.to_numpy()].iloc[0]) if condition.any() else None


def _digest(model: nn.Module) -> str:
    """SHA-256 of all parameters' bytes, in the order of `named_parameters`."""
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
