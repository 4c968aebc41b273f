"""Training: every seed without a recorder, the choice of one seed by a rule, and that seed once more with the recorder.

Notation: θ_s are the parameters before update s, θ_T the final ones. Row s of a metrics table describes θ_s, for s = 0…T, so
a run of T updates has T + 1 rows (see `explaind.training.loop`).

The recorded run must repeat the unrecorded one bit for bit. Therefore one fixed number of threads and deterministic
kernels are used in both, and the digest of θ_T is compared.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from explaind.errors import StoreError, TrainingError
from explaind.experiments import load, make_optimizer
from explaind.runtime.device import find_device
from explaind.store.files import read_json, write_csv, write_json
from explaind.training.loop import METRICS, train_rows
from explaind.training.phases import summarise
from explaind.training.reproducible import reproducible

__all__ = ["METRICS", "record_run", "select", "train_seed"]

_RECORDED_KEYS = ("name", "scale", "data", "model", "optimizer", "train")


def train_seed(config: Mapping[str, Any], seed: int, *, metrics: Path, summary: Path) -> None:
    """Train the experiment from one seed, without recording.

    Args:
        config: resolved configuration (`name`, `data`, `model`, `optimizer`, `train`).
        seed: fixes the data split and the initial parameters.
        metrics: CSV to write, columns `METRICS`, one row per θ_s.
        summary: JSON to write, see `explaind.training.phases.summarise`.

    Raises:
        TrainingError: the loss became NaN or infinite.
    """
    with reproducible(config["train"]["threads"]):
        experiment = load(config, seed=seed).to(find_device())
        optimizer = make_optimizer(config, experiment.model)
        begin = time.perf_counter()
        table = pd.DataFrame(train_rows(experiment, optimizer, config["train"]), columns=METRICS)
        seconds = time.perf_counter() - begin
    write_csv(table, metrics)
    write_json(
        summarise(table, experiment, config["train"], seconds=seconds, trained=len(table) - 1), summary
    )


def select(config: Mapping[str, Any], summaries: Sequence[Path], *, output: Path) -> None:
    """Choose the seed to explain: the first of `train.seeds` whose run reached the stopping rule.

    Without a stopping rule (`train.stop_accuracy` is null) every run is complete at its last step: the first seed is chosen,
    and none needs to be trained for it.

    If none did, `select.fallback` decides: "refuse" stops here, "best" takes the highest final test accuracy (the earlier
    of equals). The JSON written holds the rule in words, the chosen seed, its digest of θ_T and every seed's summary.

    Raises:
        TrainingError: no seed reached the stopping rule, and the fallback is "refuse"; or a seed has no summary.
    """
    seeds = list(config["train"]["seeds"])
    if config["train"]["stop_accuracy"] is None:
        rule = "the first of train.seeds: the run's length is fixed, there is no stopping rule"
        write_json({"seed": seeds[0], "rule": rule, "seeds": seeds, "runs": []}, output)
        return
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
        experiment = load(config, seed=chosen["seed"]).to(find_device())
        optimizer = make_optimizer(config, experiment.model)
        begin = time.perf_counter()
        with record(
            partial, experiment.model, optimizer, config=kept, chunk_steps=config["execution"]["chunk_steps"],
            resume=resume, overwrite=not resume,
        ) as run:  # fmt: skip
            trained = -run.step
            *_, last = train_rows(experiment, optimizer, config["train"], run)
            trained += run.step
        seconds = time.perf_counter() - begin
    logged = Trajectory(partial).metrics().reindex(columns=list(METRICS))
    table = pd.concat([logged[list(METRICS)], pd.DataFrame([last], columns=METRICS)], ignore_index=True)
    report = summarise(table, experiment, config["train"], seconds=seconds, trained=trained)
    unrecorded = chosen.get("parameters_sha256")  # None: the seed was not trained before
    report["identical_to_unrecorded"] = unrecorded and report["parameters_sha256"] == unrecorded
    write_csv(table, metrics)
    partial.rename(trajectory)
    write_json(report, summary)


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
