"""Training language → held-out language: one checkpoint's simulated update by the parts of its batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import xarray as xr

from explaind.config.declarations import Stage
from explaind.experiments.language.checkpoints import open_for
from explaind.features.quadrature import patterson
from explaind.store import read_dataset, write_dataset
from explaind.updates.cross_influence import CrossInfluence, Parts, cross_influence

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
    requires="study.languages",
    each="some_checkpoints",
    memory=5000,
    runtime=240,
    gpu=True,
)


def write(
    config: Mapping[str, Any],
    *,
    tokens: Path,
    checkpoint: str,
    checkpoints: Path | None = None,
    explained: Path,
    output: Path,
) -> None:
    """Training language → held-out language at one checkpoint, by kind of component, as a store "update-languages".

    Every held-out language is resolved, also those that are not trained on.

    With the fewest nodes that were within the tolerance when the checkpoint was explained as a whole, but at least
    `influence.min_nodes`; what they miss of each language's own change is stored as its `residual`.

    Args:
        config: resolved configuration; `checkpoints`, `influence`, `execution.rows_mb` and what
            `explaind.experiments.language.pretraining.load` needs.
        tokens: store of packed sequences.
        checkpoint: its name.
        checkpoints: the folder that our own training wrote; None for other sources.
        explained: the checkpoint's store "update".
        output: the store to write.
    """
    experiment, opened, model = open_for(config, tokens, checkpoint, checkpoints)
    device, text = next(model.parameters()).device, experiment.tokens
    sequences, languages = experiment.heldout(config["influence"]["heldout"])
    batch = experiment.batches("simulated")(0)
    components = experiment.architecture.components
    groups = {
        name: components.index(cut.component) for name, cut in experiment.architecture.cut(opened).items()
    }
    influence = cross_influence(
        opened,
        model,
        experiment.architecture.losses,
        Parts(text.train[batch].to(device), text.train_language[batch]),
        Parts(sequences.to(device), languages),
        groups,
        quadrature=_quadrature(read_dataset(explained, kind="update"), config["influence"]),
        memory_mb=config["execution"]["rows_mb"],
        samples_per_pass=config["execution"]["samples_per_pass"],
    )
    dataset = _to_dataset(influence).assign(
        per_batch=("train_language", torch.bincount(text.train_language[batch]).numpy()),
        sequences=("heldout_language", torch.bincount(languages).numpy()),
    )
    dataset = dataset.assign_coords(
        train_language=list(text.languages),
        heldout_language=list(text.heldout_languages),
        component=list(components),
    )
    attributes = {"checkpoint": checkpoint, "step": opened.hyperparameters.step}
    write_dataset(dataset.assign_attrs(attributes), output, kind="update-languages")


def _to_dataset(influence: CrossInfluence) -> xr.Dataset:
    scores = influence.scores.numpy()
    axes = ("heldout_language", "component")
    return xr.Dataset(
        {
            "batch": (("train_language", *axes), scores[:-2]),
            "momentum": (axes, scores[-2]),
            "regularization": (axes, scores[-1]),
            "change": ("heldout_language", influence.change.numpy()),
            "residual": ("heldout_language", influence.residual.numpy()),
        }
    )


def _quadrature(explained: xr.Dataset, options: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """The fewest nested nodes that were within the tolerance, else those that gave the scores."""
    change = float(explained["change"])
    for level, count in enumerate(patterson.LEVELS):
        if count >= options["min_nodes"] and count in explained["nodes"]:
            error = abs(float(explained["by_nodes"].sel(nodes=count)) - change)
            if error <= options["tolerance"] * abs(change):
                return patterson.nodes(level), list(patterson.weights(level))
    return explained["node"].values.tolist(), explained["weight"].values.tolist()
