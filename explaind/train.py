"""Training: every seed without a recorder, the choice of one seed by a rule, and that seed once more with the recorder.

Notation: θ_s are the parameters before update s, θ_T the final ones. Row s of a metrics table describes θ_s, for s = 0…T, so
a run of T updates has T + 1 rows. The training loss and accuracy of row s come from the very forward pass whose gradient
makes update s; the test set is evaluated at every step.

The recorded run must repeat the unrecorded one bit for bit. Therefore one fixed number of threads and deterministic
kernels are used in both, and the digest of θ_T is compared.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from explaind.errors import StoreError, TrainingError
from explaind.experiments import Experiment, load, make_optimizer
from explaind.output import read_json, write_csv, write_json
from explaind.phases import summarise
from explaind.progress import track
from explaind.reproducible import reproducible

__all__ = ["METRICS", "record_run", "select", "train_seed"]

METRICS = ("step", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
_RECORDED_KEYS = ("name", "scale", "data", "model", "optimizer", "train")


def train_seed(config: Mapping[str, Any], seed: int, *, metrics: Path, summary: Path) -> None:
    """Train the experiment from one seed, without recording.

    Args:
        config: resolved configuration (`name`, `data`, `model`, `optimizer`, `train`).
        seed: fixes the data split and the initial parameters.
        metrics: CSV to write, columns `METRICS`, one row per θ_s.
        summary: JSON to write, see `explaind.phases.summarise`.

    Raises:
        TrainingError: the loss became NaN or infinite.
    """
    with reproducible(config["train"]["threads"]):
        experiment = load(config, seed=seed)
        optimizer = make_optimizer(config, experiment.model)
        begin = time.perf_counter()
        table = pd.DataFrame(_train(experiment, optimizer, config["train"], None), columns=METRICS)
        seconds = time.perf_counter() - begin
    write_csv(table, metrics)
    write_json(
        summarise(table, experiment, config["train"], seconds=seconds, trained=len(table) - 1), summary
    )


def select(config: Mapping[str, Any], summaries: Sequence[Path], *, output: Path) -> None:
    """Choose the seed to explain: the first of `train.seeds` whose run reached the stopping rule.

    If none did, `select.fallback` decides: "refuse" stops here, "best" takes the highest final test accuracy (the earlier
    of equals). The JSON written holds the rule in words, the chosen seed, its digest of θ_T and every seed's summary.

    Raises:
        TrainingError: no seed reached the stopping rule, and the fallback is "refuse"; or a seed has no summary.
    """
    seeds = list(config["train"]["seeds"])
    known = {entry["seed"]: entry for entry in map(read_json, summaries)}
    if missing := [seed for seed in seeds if seed not in known]:
        raise TrainingError(
            "Some configured seeds have not been trained.",
            expected=f"a summary of each of the seeds {seeds}",
            got=f"none of {missing}",
            remedy="Train these seeds, or take them out of train.seeds.",
        )
    runs = [known[seed] for seed in seeds]
    reached = [run for run in runs if run["reached"]]
    fallback = config["select"]["fallback"]
    if not reached and fallback != "best":
        best = max(run["test_accuracy"] for run in runs)
        raise TrainingError(
            "No seed reached the stopping rule, so there is no run to explain.",
            expected=f"train and test accuracy of at least {config['train']['stop_accuracy']} within "
            f"{config['train']['max_steps']} steps",
            got=f"a final test accuracy of {best:.4f} at best, from seeds {seeds}",
            remedy="Add seeds to train.seeds, raise train.max_steps, or set select.fallback=best.",
        )
    chosen = reached[0] if reached else max(runs, key=lambda run: run["test_accuracy"])
    rule = "the first of train.seeds that reached the stopping rule"
    if not reached:
        rule = "no seed reached the stopping rule: the highest final test accuracy, the first of equals"
    write_json({**chosen, "rule": rule, "seeds": seeds, "runs": runs}, output)


def record_run(
    config: Mapping[str, Any], selection: Path, *, trajectory: Path, summary: Path, metrics: Path
) -> None:
    """Train the chosen seed again while the recorder keeps its trajectory.

    The recording grows in `<trajectory>.partial` and is renamed when complete; an interrupted call that is repeated with the
    same configuration continues from the last committed step.

    Args:
        config: resolved configuration; the recording keeps the part that training depends on, with the seed added,
            so that `load(Trajectory(path).config)` rebuilds the experiment.
        selection: JSON written by `select`.
        trajectory: the store to write.
        summary: JSON to write: as of an unrecorded run, with `identical_to_unrecorded` (equal digests of θ_T).
        metrics: CSV to write, as in `train_seed`.
    """
    from explaind.recording import Trajectory, record

    chosen = read_json(selection)
    kept = {**{key: config[key] for key in _RECORDED_KEYS if key in config}, "seed": chosen["seed"]}
    partial = Path(trajectory).with_name(f"{Path(trajectory).name}.partial")
    resume = _resumable(partial, kept)
    with reproducible(config["train"]["threads"]):
        experiment = load(config, seed=chosen["seed"])
        optimizer = make_optimizer(config, experiment.model)
        begin = time.perf_counter()
        with record(
            partial, experiment.model, optimizer, config=kept, chunk_steps=config["execution"]["chunk_steps"],
            resume=resume, overwrite=not resume,
        ) as run:  # fmt: skip
            trained = -run.step
            *_, last = _train(experiment, optimizer, config["train"], run)
            trained += run.step
        seconds = time.perf_counter() - begin
    logged = Trajectory(partial).metrics().reset_index()
    table = pd.concat([logged[list(METRICS)], pd.DataFrame([last], columns=METRICS)], ignore_index=True)
    report = summarise(table, experiment, config["train"], seconds=seconds, trained=trained)
    report["identical_to_unrecorded"] = report["parameters_sha256"] == chosen["parameters_sha256"]
    write_csv(table, metrics)
    partial.rename(trajectory)
    write_json(report, summary)


def _train(
    experiment: Experiment, optimizer: torch.optim.Optimizer, rule: Mapping[str, Any], run: Any | None
) -> Iterator[tuple[float, ...]]:
    """Full-batch training from step `run.step` (0 without a recorder); yields the row of each θ_s."""
    model, (inputs, targets) = experiment.model, experiment.train
    indices = torch.arange(len(targets))
    first = 0 if run is None else run.step
    description = f"{'training' if run is None else 'recording'} {experiment.name}, seed {experiment.seed}"
    steps = range(first, rule["max_steps"] + 1)
    for step in track(steps, total=len(steps), description=description):
        outputs = model(inputs)
        loss = experiment.loss(outputs, targets)
        row = (step, *_score(outputs.detach(), loss.detach(), targets), *_evaluate(experiment))
        if not torch.isfinite(loss):
            raise TrainingError(
                f"The training loss is {loss.item()} before update {step}.",
                expected="a finite loss",
                got=f"{loss.item()} from seed {experiment.seed}",
                remedy="Lower the learning rate, or check the data.",
            )
        yield row
        if min(row[2], row[4]) >= rule["stop_accuracy"] or step == rule["max_steps"]:
            return  # θ_s is final: no update s
        optimizer.zero_grad()
        loss.backward()
        if run is not None:
            run.batch(indices)
            run.log(**dict(zip(METRICS[1:], row[1:], strict=True)))
        optimizer.step()


def _evaluate(experiment: Experiment) -> tuple[float, float]:
    """Loss and accuracy on the test set."""
    inputs, targets = experiment.test
    with torch.no_grad():
        outputs = experiment.model(inputs)
        return _score(outputs, experiment.loss(outputs, targets), targets)


def _score(outputs: Tensor, loss: Tensor, targets: Tensor) -> tuple[float, float]:
    """Loss and share of samples whose largest output is the target's."""
    return loss.item(), (outputs.argmax(-1) == targets).double().mean().item()


def _resumable(partial: Path, config: dict[str, Any]) -> bool:
    """Whether `partial` is an unfinished recording of exactly this configuration (else it is started anew)."""
    from explaind.recording import Trajectory

    if not partial.exists():
        return False
    try:
        trajectory = Trajectory(partial)
    except StoreError:
        return False
    return not trajectory.complete and trajectory.config == config
