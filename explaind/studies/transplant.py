"""Networks that start with some layers of the explained run, while all other parameters are drawn anew (figures 3b and 11).

Such a network is trained as the run was: same samples, loss, optimizer and schedule, from an optimizer without a past. The paper
says that networks are "initialized at random but replace only" some layers: what is transplanted is where training starts, and is
trained on, unless `study.transplant.frozen` says otherwise.

Notation: θ_u are a network's parameters before update u = 0…U of its own training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from explaind.config.declarations import Stage
from explaind.errors import ConfigError
from explaind.experiments.build import make_optimizer
from explaind.experiments.experiment import Experiment
from explaind.experiments.runs import open_run
from explaind.recording.trajectory import Trajectory
from explaind.runtime.device import find_device
from explaind.store.files import read_json, write_csv
from explaind.studies.moved_layers import move, parameters_at, parameters_of
from explaind.training.loop import METRICS
from explaind.training.phases import step_of
from explaind.training.reproducible import reproducible
from explaind.training.unrecorded import train_unrecorded

__all__ = ["COLUMNS", "curves", "write"]

STAGE = Stage(
    options=(
        "train.threads",
        "study.transplant.layers",
        "study.transplant.seeds",
        "study.transplant.updates",
        "study.transplant.evaluate_every",
        "study.transplant.settle",
        "study.transplant.frozen",
    ),
    requires=("study.transplant", "study.windows"),
    each="transplants",
    threads="train.threads",
    memory=2000,
    runtime=120,
    gpu=True,
)

COLUMNS = ("combination", "checkpoint", "checkpoint_step", "seed", "update", *METRICS[1:])


def write(
    config: Mapping[str, Any],
    *,
    trajectory: Path,
    phases: Path,
    combination: str,
    checkpoint: str,
    output: Path,
) -> None:
    """Train networks with the layers of one combination from one checkpoint, one network per seed.

    Args:
        config: `study.transplant` but for its checkpoints, and `train.threads`. All else is the recorded run's own.
        trajectory: the recorded run.
        phases: JSON of the recorded run.
        combination: of `study.transplant.layers`.
        checkpoint: see `explaind.training.phases.step_of`.
        output: CSV with `COLUMNS`: one row per seed and evaluation. Losses in nats; accuracies are shares; those of training are
            of the batch of the next update (all samples, where a run is trained on all of them).

    Raises:
        ConfigError: a layer or a checkpoint that the run does not have, or a seed of the run itself.
        TrainingError: a loss became NaN or infinite.
    """
    options = config["study"]["transplant"]
    run, experiment = open_run(trajectory)
    step = step_of(checkpoint, read_json(phases))
    table = curves(run, experiment, options, layers=options["layers"][combination], step=step)
    table = table.assign(combination=combination, checkpoint=checkpoint, checkpoint_step=step)
    write_csv(table[list(COLUMNS)], output)


def curves(
    run: Trajectory, experiment: Experiment, options: Mapping[str, Any], *, layers: list[str], step: int
) -> pd.DataFrame:
    """Accuracy while the networks of all seeds train side by side, update by update, so that they end together.

    They end after `updates` updates, or when each has generalised (test accuracy above the run's own
    `train.generalized_accuracy`) at least `settle` updates before. One network follows the other within an update: batching
    them with vmap is slower on a CPU (`python -m benchmarks transplanting`).

    Args:
        run, experiment: the explained run.
        options: `study.transplant.{seeds,updates,evaluate_every,settle,frozen}`.
        layers: that are taken from the run.
        step: of the checkpoint they are taken from.

    Returns:
        Columns `seed`, `update` and the metrics of θ_u; every `evaluate_every` updates, and after the last.
    """
    moved, source = parameters_of(experiment, layers), parameters_at(run, step)
    if run.config["seed"] in options["seeds"]:
        raise ConfigError(
            f"Seed {run.config['seed']} is the explained run's own: its parameters would not be new.",
            expected="seeds of study.transplant that the run does not have",
            got=str(options["seeds"]),
            remedy="Choose other seeds.",
        )
    training = {
        **run.config["train"],
        "max_steps": options["updates"],
        "evaluate_every": options["evaluate_every"],
        "stop_accuracy": None,
    }
    rows: list[tuple[float, ...]] = []
    generalized: dict[int, int] = {}
    with reproducible(training["threads"]):
        experiment = experiment.to(find_device())
        networks = [
            _rows(run, experiment.with_initial_parameters(seed), source, moved, training, options["frozen"])
            for seed in options["seeds"]
        ]
        for update, together in enumerate(zip(*networks, strict=True)):
            if update % options["evaluate_every"] and update != options["updates"]:
                continue
            rows += [(seed, *row) for seed, row in zip(options["seeds"], together, strict=True)]
            for seed, row in zip(options["seeds"], together, strict=True):
                if row[METRICS.index("test_accuracy")] > training["generalized_accuracy"]:
                    generalized.setdefault(seed, update)
            settled = [at + options["settle"] <= update for at in generalized.values()]
            if len(settled) == len(networks) and all(settled):
                break
    return pd.DataFrame(rows, columns=("seed", "update", *METRICS[1:]))


def _rows(
    run: Trajectory,
    network: Experiment,
    source: Mapping[str, Any],
    moved: list[str],
    training: Mapping[str, Any],
    frozen: bool,
) -> Iterator[tuple[float, ...]]:
    """The network's training, a row of `METRICS` for each θ_u, from the moved parameters on."""
    move(source, moved, network.model)
    for name in moved if frozen else []:
        network.model.get_parameter(name).requires_grad_(False)  # without a gradient there is no decay, too
    return train_unrecorded(network, make_optimizer(run.config, network.model), training)
