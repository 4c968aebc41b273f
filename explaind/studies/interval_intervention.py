"""Interventions on an interval of our own run after a checkpoint: what the scores predict, and what happens.

Everything is in nats of the mean held-out loss L. The updates a … b−1 are repeated exactly; θ_b − θ_a is the sum of their terms,
and S are the scores of these on L, added up over the updates:

    reset a group G              θ_b with θ_a[G]                                   predicted −Σ S[G]
    remove a term, frozen path   θ_b + Σ_s u_term,s[G]: all else as it was         predicted −S_term[G]
    remove, retrained            training goes on from θ_a, and each of its        predicted as above
                                 updates leaves out the term, or all, in G

Measured is L(θ′) − L(θ_b). When training goes on, all gradients are computed anew, and the moments take in the gradients of G as
well: a batch whose own term is left out still moves G by the momentum of later updates, as its score says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from explaind.checkpoints import Checkpoint, open_checkpoint
from explaind.config.checkpoints import checkpoint_names
from explaind.config.declarations import Stage
from explaind.config.jobs import acted_intervals
from explaind.experiments.language.checkpoints import cast_parameters
from explaind.experiments.language.pretraining import load
from explaind.runtime.device import find_device
from explaind.runtime.progress import track
from explaind.studies.parts import enough
from explaind.studies.repeated_interval import Interval
from explaind.studies.unit_effects import HeldoutLoss, act_on_groups
from explaind.studies.unit_parts import UnitGroup, choose_parts, is_decayed
from explaind.studies.unit_rows import (
    CONTROL,
    FROZEN,
    RESET,
    RETRAINED,
    check_checkpoint,
    heldout_sequences,
    write_rows,
)
from explaind.training.reproducible import reproducible
from explaind.updates.terms import TERMS

__all__ = ["act_on_interval", "write"]

STAGE = Stage(
    options=(
        "name",
        "data",
        "model",
        "optimizer",
        "train",
        "influence.heldout",
        "checkpoints.source",
        "study.proportionality",
    ),
    without=("study.proportionality.stride", "study.proportionality.resamples"),
    requires="study.proportionality.interval_stride",
    when={"checkpoints.source": "trained"},
    each="acted_intervals",
    threads="train.threads",
    memory=4000,
    runtime=240,
    gpu=True,
)


def write(
    config: Mapping[str, Any], *, tokens: Path, checkpoint: str, checkpoints: Path | None = None, output: Path
) -> None:
    """Write one row per intervention on the updates that follow a checkpoint of our own run.

    Args:
        config: resolved configuration; `study.proportionality`, `influence.heldout` and what training needs.
        tokens: store of packed sequences.
        checkpoint: its name; not the last one.
        checkpoints: the folder that our own training wrote; other sources cannot be repeated.
        output: CSV with the columns of `explaind.studies.intervention`. The row of intervention "none" repeats the interval.

    Raises:
        ConfigError: no interval begins at this checkpoint, too few groups or held-out sequences, or a kind of groups that the
            model does not have.
        TrainingError: the interval, repeated, does not end where the run did.
    """
    jobs, names, options = (
        acted_intervals(config),
        checkpoint_names(config),
        config["study"]["proportionality"],
    )
    check_checkpoint(checkpoint, [job["checkpoint"] for job in jobs])
    with reproducible(config["train"]["threads"]):  # the run's own order of float sums
        experiment = load(config, tokens)
        opened, following = (
            open_checkpoint(checkpoints / name) for name in (checkpoint, names[names.index(checkpoint) + 1])
        )
        parts = choose_parts(opened, experiment.architecture.units(opened), options, len(jobs))
        for kind, count in options["retrained"].items():
            groups = list(parts[kind].values())[:count]
            for term in options["retrained_terms"]:
                acted = [one for one in groups if term != "regularization" or is_decayed(opened, one)]
                enough(f"{kind}, retrained without {term}", len(acted), len(jobs))
        heldout = heldout_sequences(experiment, config["influence"]["heldout"], options["tests"])
        opened.verify()
        first = opened.hyperparameters.step
        stop = min(first + options["updates"], following.hyperparameters.step)
        interval = Interval(config, experiment, opened, stop)
        rows = act_on_interval(interval, following, heldout.to(find_device()), parts)
        write_rows(rows, output, experiment=config["name"], window=f"{first}_{stop}", start=first, stop=stop)


def act_on_interval(
    interval: Interval,
    following: Checkpoint | None,
    heldout: Tensor,
    parts: Mapping[str, Mapping[str, UnitGroup]],
) -> Iterator[tuple]:
    """Rows of the interventions on one interval.

    Args:
        interval: with its run's configuration.
        following: the next checkpoint, with which the repetition is compared if it gets there; None: with nothing.
        heldout: samples of the mean loss.
        parts: kind → group name → units.

    Raises:
        TrainingError: the interval, repeated, does not end where the run did, or not twice at the same parameters.
    """
    config, architecture = interval.config, interval.experiment.architecture
    options = config["study"]["proportionality"]
    again = interval.trained()
    if following is not None and following.hyperparameters.step == interval.stop:
        interval.check_end(again.model, following)
    scores = interval.explained(heldout, again.state())
    exact = cast_parameters(interval.experiment.make_model().to(heldout.device), torch.float64)
    loss = HeldoutLoss(exact, architecture.losses, heldout, config["execution"]["samples_per_pass"])
    loss.place(interval.end)
    final = loss()
    yield from act_on_groups(loss, interval, parts, scores, (RESET, FROZEN))
    _stand(loss, again.model)
    yield CONTROL, "", "", "", 0, 0.0, loss() - final, None
    by_term = dict(zip(("all", *TERMS), (scores.sum(0), *scores), strict=True))
    jobs = [
        (kind, name, group, term)
        for kind, count in options["retrained"].items()
        for name, group in list(parts[kind].items())[:count]
        for term in options["retrained_terms"]
        if any(bool(piece.of(interval.taken(term, piece.name)).any()) for piece in group.pieces)
    ]
    for kind, name, group, term in track(jobs, description="retraining without a term", unit="run"):
        _stand(loss, interval.trained(term, group).model)
        size = sum(piece.of(loss.parameters[piece.name]).numel() for piece in group.pieces)
        yield (
            RETRAINED,
            term,
            kind,
            name,
            size,
            -float(by_term[term][group.units].sum()),
            loss() - final,
            None,
        )


def _stand(loss: HeldoutLoss, model: nn.Module) -> None:
    named = dict(model.named_parameters())
    loss.place(lambda name: named[name].detach())
