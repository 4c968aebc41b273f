"""An answer that a killed job had begun goes on bit by bit, whatever the query and wherever it was cut."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import explaind
from explaind.store import write_dataset
from tests.attribution.tiny import Run, record_run
from tests.runtime.attempts import FIRST, check_resumes

BATCHES = [[0, 1, 2, 3], [4, 5, 6], [2, 0, 5], [6, 1, 3, 4], [0, 2, 4, 6], [1, 3, 5]]
QUERIES: dict[str, dict[str, Any]] = {
    "forward": {"keep": ("step", "layer", "test", "output")},
    "forward, summed": {"keep": ("layer", "test"), "steps": slice(1, 5)},
    "importance": {"keep": ("step", "layer"), "importance": ("test", "output")},
    "reverse": {"keep": ("parameter", "test"), "target": "loss"},
    "adjoint": {"keep": ("layer", "train", "test", "output")},
    "adjoint with a tail": {"keep": ("train", "test"), "steps": slice(3, 6), "tail_tolerance": 1e-9},
    "adjoint, chosen steps": {"keep": ("train",), "steps": [1, 4], "importance": ("output",)},
    "by sample": {"keep": ("step", "train", "test"), "lineage": "sample", "steps": slice(2, 6)},
    "chosen samples": {"keep": ("train", "test"), "steps": slice(2, 6), "samples": slice(3)},
    "buffered": {"keep": ("step", "train", "test"), "steps": slice(2, 6)},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Six updates by SGD with momentum and coupled decay."""

    def sgd(model: torch.nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.05, nesterov=True)

    return record_run(tmp_path_factory.mktemp("run") / "run.zarr", sgd, batches=BATCHES)


@pytest.mark.parametrize("query", QUERIES)
def test_an_answer_goes_on_bit_by_bit(run: Run, tmp_path: Path, monkeypatch, query: str) -> None:
    plan = import_module("explaind.attribution.plan")  # the package's own `plan` is the function
    monkeypatch.setattr(plan, "FORWARD_BYTES", 1000)  # several blocks of test samples
    monkeypatch.setattr(plan, "ROW_BYTES", 4000)
    monkeypatch.setattr("explaind.attribution.contraction.SUMMED_BYTES", 1)

    def work(at: Path) -> None:
        scores = explaind.influence(
            run.path, run.model, F.cross_entropy, train=run.train, test=run.test, **QUERIES[query]
        )
        write_dataset(scores, at / FIRST, kind="scores")

    check_resumes(work, tmp_path / "work", monkeypatch, kills=3)
