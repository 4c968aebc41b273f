"""Every long stage of a recorded run goes on, bit by bit, from where it was killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from explaind.config import compose
from explaind.stages import certify, influence, phases, record, train, window
from explaind.store.files import write_json
from explaind.studies import attribution, explain_run, intervention, outputs, quadrature, transplant
from tests.runtime.attempts import FIRST, check_resumes

SMALL = (
    "data.modulus=7", "data.train=18", "data.test=8", "study.proportionality.tests=4", "study.runs.reduced=[]",
    "model.d_model=8", "model.hidden=8", "study.kernel.tests=4", "study.kernel.train=18", "train.max_steps=9", "train.seeds=[3]",
    "study.outputs.tests=4", "study.outputs.kernel_tests=3", "study.windows.reference_stop=60", "study.quadrature.tests=[8,8]",
    "study.windows.width=4", "study.outputs.width=3",
)  # fmt: skip
DATA = {"tests": 3, "tolerance": 0.01, "max_nodes": 3, "tail_tolerance": 1e-5}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A recorded run of nine updates, its configuration, and its certificate and phases as the stages' inputs."""
    folder = tmp_path_factory.mktemp("toy")
    config = compose("grokking", "smoke", SMALL)
    config["study"]["attribution"] = DATA
    write_json({"seed": 3}, folder / "selection.json")
    own = {"trajectory": folder / "trajectory.zarr", "summary": folder / "summary.json"}
    record.write(config, selection=folder / "selection.json", **own, metrics=folder / "metrics.csv")
    certify.write(config, trajectory=own["trajectory"], output=folder / "certificate.zarr")
    phases.write(config, summary=own["summary"], output=folder / "phases.json")
    run = {"trajectory": own["trajectory"], "certificate": folder / "certificate.zarr"}
    return SimpleNamespace(config=config, run=run, **run, phases=folder / "phases.json")


def _transplant(toy: SimpleNamespace, at: Path) -> None:
    config = {**toy.config, "study": {**toy.config["study"]}}
    config["study"]["transplant"] = {
        **config["study"]["transplant"],
        "layers": {"inner": ["linear 1"]},
        "updates": 4,
        "evaluate_every": 2,
    }
    given = {"trajectory": toy.trajectory, "phases": toy.phases, "combination": "inner", "checkpoint": "late"}
    transplant.write(config, **given, output=at / FIRST)


def _intervention(toy: SimpleNamespace, at: Path) -> None:
    study = {"windows": [], "ranges": ["0_4"], "kinds": ["layer"], "retrained": 5, "sets": 5, "updates": 4}
    config = {
        "name": "grokking",
        "study": {"proportionality": toy.config["study"]["proportionality"] | study},
    }
    intervention.write(config, trajectory=toy.trajectory, window="0_4", output=at / FIRST)


STAGES: dict[str, Callable[[SimpleNamespace, Path], Any]] = {
    "train": lambda toy, at: train.write(toy.config, seed=3, metrics=at / FIRST, summary=at / "s.json"),
    "certify": lambda toy, at: certify.write(toy.config, trajectory=toy.trajectory, output=at / FIRST),
    "influence": lambda toy, at: influence.write(toy.config, **toy.run, start=2, stop=5, output=at / FIRST),
    "quadrature": lambda toy, at: quadrature.write(
        toy.config, trajectory=toy.trajectory, nodes=2, output=at / FIRST
    ),
    "window": lambda toy, at: window.write(
        toy.config, **toy.run, phases=toy.phases, window="late", output=at / FIRST
    ),
    "outputs": lambda toy, at: outputs.write(
        toy.config, **toy.run, phases=toy.phases, window="late", kernel=at / FIRST, similarity=at / "similar"
    ),
    "attribution": lambda toy, at: attribution.write(
        toy.config, trajectory=toy.trajectory, output=at / FIRST
    ),
    "transplant": _transplant,
    "intervention": _intervention,
}  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_goes_on_bit_by_bit(toy: SimpleNamespace, tmp_path: Path, monkeypatch, stage: str) -> None:
    check_resumes(lambda at: STAGES[stage](toy, at), tmp_path / "work", monkeypatch)


def test_a_run_is_explained_stage_by_stage(toy: SimpleNamespace, tmp_path: Path, monkeypatch) -> None:
    def work(at: Path) -> None:
        setting = next(iter(toy.config["study"]["runs"]["settings"]))
        explain_run.write(toy.config, setting=setting, seed=3, output=at / FIRST)

    check_resumes(work, tmp_path / "work", monkeypatch, kills=3)
