"""Every update between two checkpoints of our own run, repeated and explained one by one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from explaind.checkpoints import open_checkpoint
from explaind.config.checkpoints import checkpoint_names
from explaind.config.declarations import Stage
from explaind.experiments.language.pretraining import load
from explaind.features.quadrature import Accuracy
from explaind.runtime.device import find_device
from explaind.store import write_dataset
from explaind.training.pretraining import Trainer
from explaind.training.reproducible import reproducible
from explaind.updates.interval import explain_interval

__all__ = ["write"]

STAGE = Stage(
    options=(
        "name",
        "data",
        "model",
        "optimizer",
        "train",
        "influence.heldout",
        "checkpoints.source",
        "study.intervals.tolerance",
        "study.intervals.max_nodes",
    ),
    requires="study.intervals",
    when={"checkpoints.source": "trained"},
    each="intervals",
    threads="train.threads",
    memory=3000,
    runtime=240,
    gpu=True,
    priority=3,
)


def write(
    config: Mapping[str, Any], *, tokens: Path, checkpoint: str, checkpoints: Path | None = None, output: Path
) -> None:
    """Explain every update from a checkpoint of our own run to the next, as a store "update-interval".

    Args:
        config: resolved configuration; `study.intervals`, `influence.heldout` and what training needs.
        tokens: store of packed sequences.
        checkpoint: its name; not the last one.
        checkpoints: the folder that our own training wrote; other sources cannot be repeated.
        output: the store to write.
    """
    names = checkpoint_names(config)
    following = names[names.index(checkpoint) + 1]
    options = config["study"]["intervals"]
    with reproducible(config["train"]["threads"]):  # the run's own order of float sums
        experiment = load(config, tokens)
        opened = open_checkpoint(checkpoints / checkpoint)
        opened.verify()
        sequences, _ = experiment.heldout(config["influence"]["heldout"], trained=True)
        trainer = Trainer(config, experiment, opened)
        explained = explain_interval(
            trainer,
            experiment.architecture.losses,
            lambda step: trainer.batch(step)[0],
            open_checkpoint(checkpoints / following),
            sequences.to(find_device()),
            experiment.architecture.units(opened),
            Accuracy(options["tolerance"], options["max_nodes"]),
            samples_per_pass=config["execution"]["samples_per_pass"],
        )
    attributes = {"checkpoint": checkpoint, "following": following}
    write_dataset(explained.assign_attrs(attributes), output, kind="update-interval")
