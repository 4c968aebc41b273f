"""Interventions on a recorded run, over one window of updates: what the scores predict, and what happens.

Everything is in nats of the mean loss L of the test samples. With the influences I and R on L over the window [a, b), θ_b the
recorded parameters, and u_s = kernel_s + regularization_s (+ carried_s):

    reset a group G              θ_b with θ_a[G]                                     predicted −Σ_s (I + R)[G]
    remove a term, frozen path   θ_b − Σ_s term_s[G]: all else as recorded           predicted −Σ_s I[G], or −Σ_s R[G]
    remove a term, retrained     the run goes on from θ_a without it                 predicted as above
    leave out samples K          the run goes on from θ_a without their gradients    predicted −Σ_{k∈K} Σ_p Σ_{s≥a} I

The measured effect is L(θ') − L(θ_b). For a loss that is linear in the parameters, the first two are exact. In general they are
exact only to first order along the recorded path: taking out G moves the others' gradients, which the sums keep as they were, and
a score averages ∇L along the path where a small intervention sees ∇L(θ_b) alone. To tell these apart, the frozen interventions
also have `local` = ⟨∇L(θ_b), θ' − θ_b⟩, what a small enough one must measure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from explaind.attribution import influence
from explaind.config.declarations import Stage
from explaind.errors import ConfigError
from explaind.experiments.runs import open_run
from explaind.recording.trajectory import Trajectory
from explaind.runtime.durable import each
from explaind.runtime.progress import track
from explaind.store.files import read_json, write_csv
from explaind.studies.counterfactual import TERMS, Counterfactual
from explaind.studies.effects import MeanLoss, repeated, summed_terms
from explaind.studies.left_out import make_sets, sample_scores
from explaind.studies.parts import enough, make_parts
from explaind.training.reproducible import reproducible

__all__ = ["COLUMNS", "act_on_groups", "act_on_samples", "write"]

STAGE = Stage(
    options=("name", "study.proportionality"),
    without=("study.proportionality.resamples",),
    requires="study.proportionality.windows",
    each="interventions",
    memory=4000,
    runtime=60,
)

COLUMNS = (
    "experiment", "window", "start", "stop", "intervention", "term", "kind", "group", "size", "predicted", "measured", "local",
)  # fmt: skip
FROZEN, RETRAINED, RESET, LEFT_OUT, CONTROL = (
    "remove, frozen path", "remove, retrained", "reset", "leave out", "none",
)  # fmt: skip


def write(
    config: Mapping[str, Any], *, trajectory: Path, window: str, phases: Path | None = None, output: Path
) -> None:
    """Write one row per intervention.

    Args:
        config: `name` and `study.proportionality`.
        trajectory: the recorded run.
        window: a name of study.windows, or "first_stop".
        phases: JSON with the windows of this run, where it has any.
        output: CSV with `COLUMNS`. The row of intervention "none" repeats the window unchanged.

    Raises:
        ConfigError: a window beyond the run, too few groups, or a kind of groups that the model does not have.
        TrainingError: the window, made again unchanged, does not end where the recorded one did.
    """
    options = config["study"]["proportionality"]
    run, experiment = open_run(trajectory)
    start, stop = _bounds(window, phases, run, options["updates"])
    counterfactual = Counterfactual(run, experiment, start, stop)
    parts = {kind: make_parts(kind, experiment, run.layout, options, start) for kind in options["kinds"]}
    windows = len(options["windows"]) + len(options["ranges"])
    for kind, groups in parts.items():
        enough(kind, len(groups), windows)
        if kind != "parameter" and options["retrained"]:
            enough(f"{kind}, retrained", min(len(groups), options["retrained"]), windows)
    with reproducible(run.config["train"]["threads"]):
        rows = [*act_on_groups(counterfactual, parts, options), *act_on_samples(counterfactual, options)]
    table = pd.DataFrame(rows, columns=COLUMNS[4:])
    for place, (name, value) in enumerate(
        {"experiment": config["name"], "window": window, "start": start, "stop": stop}.items()
    ):
        table.insert(place, name, value)
    write_csv(table, output)


def _bounds(window: str, phases: Path | None, run: Trajectory, updates: int) -> tuple[int, int]:
    """The window [start, stop) of this run, cut to its first `updates`."""
    named = {} if phases is None else read_json(phases)["windows"]
    start, stop = named[window] if window in named else map(int, window.split("_"))
    if not 0 <= start < stop <= run.n_steps:
        raise ConfigError(
            f"The window {window} of the interventions lies beyond the run.",
            expected=f"updates within [0, {run.n_steps})",
            got=f"[{start}, {stop})",
            remedy="Correct study.proportionality.ranges.",
        )
    return start, min(stop, start + updates)


def act_on_groups(
    counterfactual: Counterfactual, parts: Mapping[str, Mapping[str, Tensor]], options: Mapping[str, Any]
) -> Iterator[tuple]:
    """Rows of the interventions on groups of parameters."""
    run, experiment = counterfactual.run, counterfactual.experiment
    start, stop = counterfactual.start, counterfactual.stop
    tests = tuple(part[: options["tests"]] for part in experiment.test)
    scores = influence(
        run,
        experiment.model,
        experiment.loss,
        test=tests,
        keep=("parameter",),
        steps=slice(start, stop),
        target="loss",
        tolerance=options["tolerance"] * options["tests"],
        max_nodes=options["max_nodes"],
    )
    names = [name for name in (*TERMS, "carried") if name in scores]
    score = {name: torch.from_numpy(scores[name].values).double() / len(tests[1]) for name in names}
    score["all"] = torch.stack(list(score.values())).sum(0)
    moved = summed_terms(run, start, stop)
    final, loss = run.parameters(stop).double(), MeanLoss(run, experiment, tests)
    recorded, slope = loss(final), loss.slope(final)
    for kind, groups in parts.items():
        for name, where in groups.items():
            for term in ("all", *TERMS):
                changed = final.clone()
                changed[where] -= moved[term][where]
                label = RESET if term == "all" else FROZEN
                predicted = -score[term][where].sum().item()
                effect, local = loss(changed) - recorded, torch.dot(slope, changed - final).item()
                yield label, term, kind, name, len(where), predicted, effect, local
    yield CONTROL, "", "", "", 0, 0.0, loss(repeated(counterfactual).double()) - recorded, None
    jobs = [
        (kind, name, where, term)
        for kind, groups in parts.items()
        if kind != "parameter"
        for name, where in list(groups.items())[: options["retrained"]]
        for term in TERMS
    ]
    effects = each(
        "terms", jobs, lambda job: loss(counterfactual(term=job[3], group=job[2]).double()) - recorded
    )
    effects = track(effects, total=len(jobs), description="retraining without a term", unit="run")
    for (kind, name, where, term), effect in zip(jobs, effects, strict=True):
        yield RETRAINED, term, kind, name, len(where), -score[term][where].sum().item(), effect, None


def act_on_samples(counterfactual: Counterfactual, options: Mapping[str, Any]) -> Iterator[tuple]:
    """Rows of the runs without training samples."""
    run, experiment = counterfactual.run, counterfactual.experiment
    tests = tuple(part[: options["tests"]] for part in experiment.test)
    score = sample_scores(counterfactual, tests, options)
    sets = make_sets(score, counterfactual, options)
    loss = MeanLoss(run, experiment, tests)
    recorded = loss(run.parameters(counterfactual.stop).double())
    effects = each(
        "samples", sets.values(), lambda samples: loss(counterfactual(without=samples).double()) - recorded
    )
    effects = track(effects, total=len(sets), description="retraining without samples", unit="run")
    for ((kind, name), samples), effect in zip(sets.items(), effects, strict=True):
        yield LEFT_OUT, "kernel", kind, name, len(samples), -score[samples].sum().item(), effect, None
