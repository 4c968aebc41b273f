"""One seed in one setting, explained from its training to its windows; only what is small is kept.

The stages of the explained run are called one after another in a folder of their own: recording, certificate, phases, influence
per layer and update, kernels and similarities of the windows, and the periods of the last one. The recording and the matrices
(up to several GB) are removed at the end.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from explaind.config.changes import changed
from explaind.config.declarations import Stage
from explaind.runtime.durable import once, workspace
from explaind.stages import accumulate, certify, influence, phases, record, window
from explaind.store.files import read_json, write_json
from explaind.studies import bands, periodicity

__all__ = ["KEPT", "write"]

STAGE = Stage(
    options=(
        "name", "data", "model", "optimizer", "train", "verify", "influence",
        "study.windows", "study.kernel", "study.periodicity", "study.runs",
    ),
    without=("train.seeds", "train.seed", "study.runs.seeds"),
    requires="study.runs",
    each="runs",
    threads="train.threads",
    memory=3000,
    runtime=120,
    gpu=True,
)  # fmt: skip

#: What is kept of a run: of the same kinds as the explained run's own files.
KEPT = (
    "metrics.csv", "summary.json", "phases.json", "certificate.zarr", "influence.zarr", "structure.csv", "periodicity.csv",
)  # fmt: skip

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
        CertificateError: the recorded run does not follow from its batches.
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
    run = {"trajectory": trajectory, "certificate": at / "certificate.zarr"}
    once(
        "certify",
        [run["certificate"]],
        lambda: certify.write(config, trajectory=trajectory, output=run["certificate"]),
    )
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
