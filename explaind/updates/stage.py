"""The workflow's stages on checkpoints: one update of each, by unit and by language, and whole intervals of our own run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import xarray as xr

from explaind.checkpoints import open_checkpoint
from explaind.config.checkpoints import checkpoint_names
from explaind.experiments.eurollm.build import load
from explaind.experiments.eurollm.model import COMPONENTS, describe, sequence_losses
from explaind.experiments.eurollm.trainer import Trainer
from explaind.features import patterson
from explaind.runtime.allocator import keep_memory
from explaind.runtime.device import find_device
from explaind.store import read_dataset, write_dataset
from explaind.training.reproducible import reproducible
from explaind.updates.by_part import Parts, influence_by_part
from explaind.updates.explain import explain_update
from explaind.updates.interval import explain_interval
from explaind.updates.opening import open_for, units_of
from explaind.updates.path import Rule

__all__ = ["explain_checkpoint", "explain_languages", "explain_steps"]


def explain_checkpoint(
    config: Mapping[str, Any], tokens: Path, checkpoint: str, *, checkpoints: Path | None, output: Path
) -> None:
    """Explain one simulated update from a checkpoint, as a store "update".

    The batch is drawn from the training text once, with the composition of the run's own batches, and is the same at every
    checkpoint. The held-out sequences are of the languages that are trained on.

    Args:
        config: resolved configuration; `checkpoints`, `influence` and what `explaind.experiments.eurollm.build.load` needs.
        tokens: store of packed sequences.
        checkpoint: its name.
        checkpoints: the folder that our own training wrote; None for other sources.
        output: the store to write.
    """
    keep_memory()
    experiment, opened, model = open_for(config, tokens, checkpoint, checkpoints)
    device = next(model.parameters()).device
    sequences, languages = experiment.heldout(config["influence"]["heldout"], trained=True)
    batch = experiment.batches("simulated")(0)
    found = explain_update(
        opened,
        model,
        sequence_losses,
        experiment.tokens.train[batch].to(device),
        sequences.to(device),
        units=units_of(opened),
        rule=_rule(config),
    )
    names = [experiment.tokens.heldout_languages[index] for index in languages.tolist()]
    found = found.assign_coords(language=("heldout", names)).assign_attrs(notes=" ".join(opened.notes))
    write_dataset(found, output, kind="update")


def explain_languages(
    config: Mapping[str, Any],
    tokens: Path,
    checkpoint: str,
    explained: Path,
    *,
    checkpoints: Path | None,
    output: Path,
) -> None:
    """Training language → held-out language at one checkpoint, by kind of component, as a store "update-languages".

    Every held-out language is resolved, also those that are not trained on.

    With the fewest nodes that were within the tolerance when the checkpoint was explained as a whole, but at least
    `influence.min_nodes`; what they miss of each language's own change is stored as its `residual`.

    Args:
        config, tokens, checkpoint, checkpoints: as of `explain_checkpoint`.
        explained: its store.
        output: the store to write.
    """
    keep_memory()
    experiment, opened, model = open_for(config, tokens, checkpoint, checkpoints)
    device, found = next(model.parameters()).device, experiment.tokens
    sequences, languages = experiment.heldout(config["influence"]["heldout"])
    batch = experiment.batches("simulated")(0)
    known = read_dataset(explained, kind="update")
    groups = {
        name: COMPONENTS.index(describe(opened.config, name, opened.shape(name)).component)
        for name in opened.names()
    }
    by_part = influence_by_part(
        opened,
        model,
        sequence_losses,
        Parts(found.train[batch].to(device), found.train_language[batch]),
        Parts(sequences.to(device), languages),
        groups,
        quadrature=_quadrature(known, config["influence"]),
        memory_mb=config["execution"]["rows_mb"],
        rule=_rule(config),
    )
    scores = by_part.scores.numpy()
    axes = ("heldout_language", "component")
    dataset = xr.Dataset(
        {
            "batch": (("train_language", *axes), scores[:-2]),
            "momentum": (axes, scores[-2]),
            "regularization": (axes, scores[-1]),
            "per_batch": ("train_language", torch.bincount(found.train_language[batch]).numpy()),
            "change": ("heldout_language", by_part.change.numpy()),
            "residual": ("heldout_language", by_part.residual.numpy()),
            "sequences": ("heldout_language", torch.bincount(languages).numpy()),
        },
        coords={
            "train_language": list(found.languages),
            "heldout_language": list(found.heldout_languages),
            "component": list(COMPONENTS),
        },
        attrs={"checkpoint": checkpoint, "step": opened.hyperparameters.step},
    )
    write_dataset(dataset, output, kind="update-languages")


def explain_steps(
    config: Mapping[str, Any], tokens: Path, checkpoint: str, *, checkpoints: Path, output: Path
) -> None:
    """Explain every update from a checkpoint of our own run to the next, as a store "update-interval"."""
    names = checkpoint_names(config)
    following = names[names.index(checkpoint) + 1]
    with reproducible(config["train"]["threads"]):  # the run's own order of float sums
        experiment = load(config, tokens)
        opened = open_checkpoint(checkpoints / checkpoint)
        opened.verify()
        options = config["study"]["intervals"]
        sequences, _ = experiment.heldout(config["influence"]["heldout"], trained=True)
        rule = Rule(options["tolerance"], 1, options["max_nodes"], config["execution"]["samples_per_pass"])
        found = explain_interval(
            Trainer(config, experiment, opened),
            open_checkpoint(checkpoints / following),
            sequences.to(find_device()),
            units_of(opened),
            rule,
        )
    write_dataset(
        found.assign_attrs(checkpoint=checkpoint, following=following), output, kind="update-interval"
    )


def _rule(config: Mapping[str, Any]) -> Rule:
    options = config["influence"]
    return Rule(
        options["tolerance"],
        options["min_nodes"],
        options["max_nodes"],
        config["execution"]["samples_per_pass"],
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
