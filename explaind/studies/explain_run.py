"""One seed in one setting, explained from its training to its windows; only what is small is kept.

The stages of the explained run are called one after another in a folder of their own: recording, phases, influence per layer and
update, kernels and similarities of the windows, the periods of the last one, and frequencies. The recording and the matrices
(up to several GB) are removed at the end.

Where the explained run has a certificate of every update, these have the check that any answer makes of what it rests on: of
each update, the length of the gradient that it implies; and each update of a window, and of the momentum in it, is rebuilt from
its batch.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from explaind.config.changes import changed
from explaind.config.declarations import Stage
from explaind.experiments.runs import open_run
from explaind.runtime.durable import once, workspace
from explaind.stages import accumulate, influence, phases, record, window
from explaind.store import read_dataset
from explaind.store.files import read_json, write_csv, write_json
from explaind.studies import bands, frequencies, periodicity

__all__ = ["CHECKED", "KEPT", "write"]

STAGE = Stage(
    options=(
        "name", "data", "model", "optimizer", "train", "influence", "study.windows", "study.kernel", "study.periodicity",
        "study.frequencies", "study.outputs.module", "study.runs",
    ),
    without=("train.seeds", "train.seed", "study.runs.seeds"),
    requires=("study.runs", "study.frequencies", "study.outputs"),
    each="runs",
    threads="train.threads",
    memory=3000,
    runtime=120,
    gpu=True, priority=2,
)  # fmt: skip

#: What is kept of a run: of the same kinds as the explained run's own files.
KEPT = (
    "metrics.csv", "summary.json", "phases.json", "replay.csv", "influence.zarr", "structure.csv", "periodicity.csv",
    "frequencies.csv", "labels.json",
)  # fmt: skip
#: Columns of replay.csv: how an update was checked ("norms", or "gradients" for those of windows), the relative error that was
#: found, and the largest that was accepted.
CHECKED = ("check", "step", "relative", "accepted")

_TRAINING = ("data", "model", "optimizer", "train")  # what decides the parameters


def write(
    config: Mapping[str, Any], *, setting: str, seed: int, output: Path, unrecorded: Path | None = None
) -> None:
    """Explain one run into a folder with the files `KEPT`.

    Args:
        config: resolved configuration; `study.runs.reduced` and the setting's changes are applied to it.
        setting: name in `study.runs.settings`.
        seed: fixes the data split and the initial parameters.
        output: the folder to write.
        unrecorded: summary of the experiment's own run of this seed without a recorder; compared with where training is the same.

    Raises:
        LedgerError: the recorded run does not follow from its gradients, or a window's updates not from their batches.
        TrainingError: the loss became NaN or infinite.
    """
    runs = config["study"]["runs"]
    own, config = config, changed(config, [*runs["reduced"], *runs["settings"][setting]], partial=True)
    selection: dict[str, Any] = {"seed": seed}
    if unrecorded is not None and all(own[key] == config[key] for key in _TRAINING):
        selection["parameters_sha256"] = read_json(unrecorded)["parameters_sha256"]
    output = Path(output)
    with workspace(output) as folder:
        write_json(selection, folder / "selection.json")
        _explain(config, folder)
        copied = output.with_name(f"{output.name}.partial")
        shutil.rmtree(copied, ignore_errors=True)
        copied.mkdir()
        for name in KEPT:
            # Copied, not moved: an attempt that is killed here leaves the next one nothing to do but this.
            copy = shutil.copytree if (folder / name).is_dir() else shutil.copy2
            copy(folder / name, copied / name)
        copied.rename(output)


def _explain(config: Mapping[str, Any], at: Path) -> None:
    """Every stage, with its files in one folder, from the selection of a seed on; not again what an earlier attempt finished."""
    if "data" in config.get("files", {}):  # the stages look for the data beside the recording
        (at / "data.zarr").unlink(missing_ok=True)
        (at / "data.zarr").symlink_to(Path(config["files"]["data"]).resolve())
    trajectory = at / "trajectory.zarr"
    files = {"trajectory": trajectory, "summary": at / "summary.json", "metrics": at / "metrics.csv"}
    once(
        "record",
        list(files.values()),
        lambda: record.write(config, selection=at / "selection.json", **files),
    )
    run = {"trajectory": trajectory, "certificate": None}
    phases.write(config, summary=at / "summary.json", output=at / "phases.json")
    steps = read_json(at / "summary.json")["steps"]
    part, whole = at / "part.zarr", at / "influence.zarr"
    once("influence", [part], lambda: influence.write(config, **run, start=0, stop=steps, output=part))
    once("accumulate", [whole], lambda: accumulate.write(parts=[part], output=whole))
    windows = {name: at / f"{name}.zarr" for name in config["study"]["windows"]["positions"]}
    for name, path in windows.items():
        explain = partial(window.write, config, **run, phases=at / "phases.json", window=name, output=path)
        once(f"window-{name}", [path], explain)
    bands.write(
        config, windows=list(windows.values()), phases=at / "phases.json", output=at / "structure.csv"
    )
    periodicity.write(
        config, window=windows["late"], phases=at / "phases.json", output=at / "periodicity.csv"
    )
    at_steps = at / "frequencies.csv"
    once("frequencies", [at_steps], lambda: frequencies.write(config, trajectory=trajectory, output=at_steps))
    _note_checks(at / "influence.zarr", list(windows.values()), at / "replay.csv")
    write_json(
        {"cycle": len(open_run(trajectory)[1].cycle)}, at / "labels.json"
    )  # p, as in studies.frequencies


def _note_checks(influences: Path, windows: Sequence[Path], output: Path) -> None:
    """What was found of the updates that the answers rest on, a row for each, with the columns `CHECKED`."""
    stores = [(influences, "influence"), *((path, "window") for path in windows)]
    rows = []
    for dataset in (read_dataset(path, kind=kind) for path, kind in stores):
        found = dataset[["replay_relative", "replay_accepted"]].to_dataframe().reset_index()
        found.insert(0, "check", dataset.attrs["replay_checked"])
        rows.append(found.set_axis(list(CHECKED), axis=1))
    write_csv(pd.concat(rows).drop_duplicates(["check", "step"]), output)
