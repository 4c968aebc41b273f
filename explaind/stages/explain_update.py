"""One simulated update from a checkpoint: its batch, its momentum and its weight decay, by unit of the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from explaind.config.declarations import Stage
from explaind.experiments.language.checkpoints import open_for
from explaind.store import write_dataset
from explaind.updates.explain import explain_update

__all__ = ["write"]

STAGE = Stage(
    options=(
        "name",
        "data.context",
        "model",
        "train.batch",
        "train.mix",
        "train.seed",
        "checkpoints",
        "influence",
    ),
    without=("checkpoints.revisions",),
    requires="checkpoints",
    each="checkpoints",
    memory=3000,
    runtime=120,
    gpu=True,
)


def write(
    config: Mapping[str, Any], *, tokens: Path, checkpoint: str, checkpoints: Path | None = None, output: Path
) -> None:
    """Explain one simulated update from a checkpoint, as a store "update".

    The batch is drawn from the training text once, with the composition of the run's own batches, and is the same at every
    checkpoint. The held-out sequences are of the languages that are trained on.

    Args:
        config: `checkpoints`, `influence`, and what `explaind.experiments.language.pretraining.load` needs.
        tokens: store of packed sequences.
        checkpoint: its name.
        checkpoints: the folder that our own training wrote; None for other sources.
        output: the store to write.
    """
    experiment, opened, model = open_for(config, tokens, checkpoint, checkpoints)
    device = next(model.parameters()).device
    sequences, languages = experiment.heldout(config["influence"]["heldout"], trained=True)
    batch = experiment.batches("simulated")(0)
    options = config["influence"]
    explained = explain_update(
        opened,
        model,
        experiment.architecture.losses,
        experiment.tokens.train[batch].to(device),
        sequences.to(device),
        units=experiment.architecture.units(opened),
        relative_tolerance=options["tolerance"],
        max_nodes=options["max_nodes"],
        min_nodes=options["min_nodes"],
        samples_per_pass=config["execution"]["samples_per_pass"],
    )
    names = [experiment.tokens.heldout_languages[index] for index in languages.tolist()]
    explained = explained.assign_coords(language=("heldout", names))
    write_dataset(explained.assign_attrs(notes=" ".join(opened.notes)), output, kind="update")
