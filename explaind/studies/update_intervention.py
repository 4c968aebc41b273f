"""Interventions on the simulated update of a checkpoint: what the scores predict, and what happens.

Everything is in nats of the mean held-out loss L. With the update θ − u, u = u_batch + u_momentum + u_decay, and the scores S of
its terms on L (`explaind.updates`):

    reset a group G, one update     θ − u + u[G]                                               predicted −Σ S[G]
    remove a term, one update       θ − u + u_term[G]                                          predicted −S_term[G]
    remove a language, one update   θ − u + u_z, u_z = (ρκ + σ) P c g_z                        predicted −S_z
    leave out a language            the update made anew with the gradient g − g_z: c, v′, P   predicted −S_z

z are the training languages: g_z is the part that the batch's sequences of z have in the gradient g of the batch's mean loss,
which stays divided by the whole batch. S_z = −⟨Ḡ, u_z⟩, Ḡ being ∇L averaged along the update's path by the quadrature that gave
S: the entries of `explaind.updates.cross_influence` for this loss. Measured is L(θ′) − L(θ − u).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from explaind.checkpoints import Checkpoint
from explaind.config.declarations import Stage
from explaind.config.jobs import acted_updates
from explaind.experiments.language.checkpoints import cast_parameters, open_for
from explaind.features.quadrature import Accuracy
from explaind.features.units import Units
from explaind.studies.unit_effects import HeldoutLoss, OneUpdate, act_on_groups
from explaind.studies.unit_parts import UnitGroup, choose_parts
from explaind.studies.unit_rows import CONTROL, LEFT_OUT, check_checkpoint, heldout_sequences, write_rows
from explaind.updates.batch import prepared
from explaind.updates.gradients import Collected
from explaind.updates.path import Losses, add_gradient, integrate
from explaind.updates.terms import Update, make_update

__all__ = ["act_on_update", "write"]

STAGE = Stage(
    options=(
        "name",
        "data.context",
        "model",
        "train.batch",
        "train.mix",
        "train.seed",
        "train.steps",
        "train.checkpoints",
        "checkpoints",
        "influence.heldout",
        "influence.weights",
        "study.proportionality",
    ),
    without=(
        "study.proportionality.interval_stride",
        "study.proportionality.updates",
        "study.proportionality.retrained",
        "study.proportionality.retrained_terms",
        "study.proportionality.resamples",
    ),
    requires=("study.proportionality.stride", "checkpoints"),
    each="acted_updates",
    memory=4000,
    runtime=120,
    gpu=True,
)

LABELS = ("reset, one update", "remove, one update")
LANGUAGE = "language"


def write(
    config: Mapping[str, Any], *, tokens: Path, checkpoint: str, checkpoints: Path | None = None, output: Path
) -> None:
    """Write one row per intervention on a checkpoint's simulated update, the one that `explain_update` explains.

    Args:
        config: `study.proportionality`, `checkpoints`, `influence`, and what
            `explaind.experiments.language.pretraining.load` needs.
        tokens: store of packed sequences.
        checkpoint: its name.
        checkpoints: the folder that our own training wrote; None for other sources.
        output: CSV with the columns of `explaind.studies.intervention`. The row of intervention "none" makes the update again
            from the languages' gradients.

    Raises:
        ConfigError: no such checkpoint, too few groups or held-out sequences, or a kind of groups that the model does not have.
        DataError, StoreError: as of `explaind.experiments.language.checkpoints.open_for`.
    """
    jobs = acted_updates(config)
    check_checkpoint(checkpoint, [job["checkpoint"] for job in jobs])
    options = config["study"]["proportionality"]
    experiment, opened, model = open_for(config, tokens, checkpoint, checkpoints)
    device, text = next(model.parameters()).device, experiment.tokens
    units = experiment.architecture.units(opened)
    parts = choose_parts(opened, units, options, len(jobs))
    batch = experiment.batches("simulated")(0)
    heldout = heldout_sequences(experiment, config["influence"]["heldout"], options["tests"]).to(device)
    exact = cast_parameters(experiment.architecture.make(opened.config).to(device), torch.float64).eval()
    passes = config["execution"]["samples_per_pass"]
    rows = act_on_update(
        opened,
        model,
        HeldoutLoss(exact, experiment.architecture.losses, heldout, passes),
        experiment.architecture.losses,
        (text.train[batch].to(device), text.train_language[batch]),
        text.languages,
        heldout,
        units,
        parts,
        Accuracy(options["tolerance"], options["max_nodes"]),
        samples_per_pass=passes,
    )
    step = -1 if opened.hyperparameters.step is None else opened.hyperparameters.step
    write_rows(rows, output, experiment=config["name"], window=checkpoint, start=step, stop=step + 1)


def act_on_update(
    checkpoint: Checkpoint,
    model: nn.Module,
    loss: HeldoutLoss,
    losses: Losses,
    train: tuple[Tensor, Tensor],
    languages: tuple[str, ...],
    heldout: Tensor,
    units: Units,
    parts: Mapping[str, Mapping[str, UnitGroup]],
    accuracy: Accuracy,
    *,
    samples_per_pass: int,
) -> Iterator[tuple]:
    """Rows of the interventions on one update; the model is left at the checkpoint.

    Held at once, besides what explaining the update needs: P, the gradient of the batch and of one language, Ḡ, one more update,
    and the loss's float64 model.

    Args:
        checkpoint, model, losses, heldout, units, accuracy, samples_per_pass: as of `explaind.updates.explain.explain_update`.
        loss: of the held-out samples, whose model has the checkpoint's shape.
        train: samples of the batch [B, …] and the language of each [B], of which every one occurs.
        languages: their names.
        parts: kind → group name → units.
    """
    samples, _ = train
    with prepared(checkpoint, model, losses, samples, heldout) as (start, rehearsal):
        pure, gradient = rehearsal.losses, Collected()
        known = add_gradient(model, pure, samples, samples_per_pass, gradient.add)
        rehearsal.check_again(model, samples, known, samples_per_pass)
        copies = {name: part.clone() for name, part in gradient.items()}
        update = make_update(checkpoint, start, copies, keep_preconditioner=True)
        found = integrate(update, model, pure, heldout, units, accuracy, samples_per_pass=samples_per_pass)
        average = Collected({name: torch.zeros_like(part) for name, part in update.batch.items()})
        for at, weight in zip(found.integral.positions, found.integral.weights, strict=True):
            update.place(model, at)
            add_gradient(
                model,
                pure,
                heldout,
                samples_per_pass,
                lambda name, part, w=weight: average.add(name, w * part),
            )
        movement = OneUpdate(update)
        loss.place(checkpoint.weight)
        loss.place(movement.end)
        yield from act_on_groups(loss, movement, parts, found.scores, LABELS)
        final, slope = loss(), loss.slope()
        everything = Collected()
        update.place(model, 0.0)
        for name, size, own in _by_language(model, pure, train, languages, samples_per_pass):
            for one, part in own.items():
                everything.add(one, part)
            entered = {one: _entered(update, one, part) for one, part in own.items()}
            predicted = sum(float(units.dot(one, average[one], u).sum()) for one, u in entered.items())
            others = {one: part - own[one] if one in own else part.clone() for one, part in gradient.items()}
            frozen = {one: movement.end(one) + entered.get(one, 0.0) for one in update.start}
            anew = OneUpdate(make_update(checkpoint, start, others))
            for label, end in ((LABELS[1], frozen.get), (LEFT_OUT, anew.end)):
                loss.place(end)
                local = sum(
                    float((slope[one] * (loss.parameters[one].detach() - movement.end(one))).sum())
                    for one in update.start
                )
                yield label, "batch", LANGUAGE, name, size, predicted, loss() - final, local
        loss.place(OneUpdate(make_update(checkpoint, start, everything)).end)
        yield CONTROL, "", "", "", 0, 0.0, loss() - final, None


def _by_language(
    model: nn.Module,
    losses: Losses,
    train: tuple[Tensor, Tensor],
    languages: tuple[str, ...],
    samples_per_pass: int,
) -> Iterator[tuple[str, int, Collected]]:
    """Each language, the number of its sequences, and its part g_z of the gradient of the batch's mean loss."""
    samples, language = train
    for index, name in enumerate(languages):
        mine = samples[(language == index).to(samples.device)]
        own = Collected()
        add_gradient(model, losses, mine, samples_per_pass, own.add)
        for part in own.values():
            part.mul_(len(mine) / len(samples))
        yield name, len(mine), own


def _entered(update: Update, name: str, gradient: Tensor) -> Tensor:
    """u_z of one tensor: what a part g_z of the gradient moves it by, with c and P of the whole update."""
    scaled = gradient * (update.clip * update.weight(name))
    return scaled * update.preconditioner[name] if name in update.preconditioner else scaled
