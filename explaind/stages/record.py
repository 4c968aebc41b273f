"""Train the chosen seed again while the recorder keeps its trajectory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from explaind.attribution.record import record
from explaind.config.declarations import Stage
from explaind.errors import StoreError
from explaind.experiments.build import load, make_optimizer
from explaind.recording import Trajectory
from explaind.runtime.device import find_device
from explaind.store.files import read_json, write_csv, write_json
from explaind.training.loop import METRICS, train_rows
from explaind.training.phases import summarise
from explaind.training.reproducible import reproducible

__all__ = ["write"]

STAGE = Stage(
    options=("name", "data", "model", "optimizer", "train"),
    without=("train.seeds", "train.seed"),
    requires="verify",
    threads="train.threads",
    memory=2000,
    runtime=90,
    gpu=True,
    priority=9,
    note="continues where it was interrupted",
)

_RECORDED_KEYS = ("name", "data", "model", "optimizer", "train")


def write(
    config: Mapping[str, Any], *, selection: Path, trajectory: Path, summary: Path, metrics: Path
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
    chosen = read_json(selection)
    kept = {**{key: config[key] for key in _RECORDED_KEYS if key in config}, "seed": chosen["seed"]}
    partial = Path(trajectory).with_name(f"{Path(trajectory).name}.partial")
    resume = _resumable(partial, kept)
    with reproducible(config["train"]["threads"]), torch.random.fork_rng(devices=[]):
        torch.manual_seed(chosen["seed"])  # nothing draws from it, but the recording keeps its state
        experiment = load(config, seed=chosen["seed"]).to(find_device())
        optimizer = make_optimizer(config, experiment.model)
        with record(
            partial, experiment.model, optimizer, config=kept, chunk_steps=config["execution"]["chunk_steps"],
            resume=resume, overwrite=not resume,
        ) as run:  # fmt: skip
            *_, last = train_rows(experiment, optimizer, config["train"], run)
    logged = Trajectory(partial).metrics().reindex(columns=list(METRICS))
    table = pd.concat([logged[list(METRICS)], pd.DataFrame([last], columns=METRICS)], ignore_index=True)
    report = summarise(table, experiment, config["train"])
    unrecorded = chosen.get("parameters_sha256")  # None: the seed was not trained before
    report["identical_to_unrecorded"] = unrecorded and report["parameters_sha256"] == unrecorded
    write_csv(table, metrics)
    partial.rename(trajectory)
    write_json(report, summary)


def _resumable(partial: Path, config: dict[str, Any]) -> bool:
    """Whether `partial` is an unfinished recording of exactly this configuration (else it is started anew)."""
    if not partial.exists():
        return False
    try:
        trajectory = Trajectory(partial)
    except StoreError:
        return False
    return not trajectory.complete and trajectory.config == config
