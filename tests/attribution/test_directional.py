"""Products with gradients that are never formed, against the products with gradients that are."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr
from torch import nn

import explaind
from explaind.attribution.directional import cheaper
from explaind.attribution.problem import Problem, make_problem
from explaind.attribution.query import Query
from tests.attribution.tiny import Net, Run, make_data, record_run

PLANNING = import_module("explaind.attribution.plan")  # the package has a function of this name
BATCHES = [[0, 1, 2, 3], [4, 6], [2, 0, 5], [6, 1, 2, 2], [0, 2, 4, 6], [1, 3, 5]]
HALF = torch.arange(12).reshape(4, 3) < 5
GROUPS = {
    "masks": {"a": {"first.weight": HALF}, "b": {"first.weight": ~HALF}, "rest": ["first.bias", "second.*"]},
    "tensors": {"weights": ["*.weight"], "biases": ["*.bias"]},
    "all": "all",
}
QUERIES: dict[str, dict[str, Any]] = {
    "layers": {"keep": ("layer", "train", "test", "output")},
    "masks": {"keep": ("layer", "train", "test"), "groups": GROUPS["masks"]},
    "groups of tensors": {"keep": ("layer", "train"), "groups": GROUPS["tensors"], "target": "loss"},
    "a window with its tail": {"keep": ("train", "test"), "steps": slice(3, 5), "tail_tolerance": 0},
    "a tail that is cut": {"keep": ("layer", "train", "test"), "steps": slice(4, 5), "tail_tolerance": 0.85},
    "chosen steps": {"keep": ("train", "test"), "steps": [1, 4]},
    "by sample": {"keep": ("step", "train", "test"), "lineage": "sample", "steps": slice(2, 6)},
    "chosen samples": {"keep": ("train", "test"), "samples": [5, 0, 3], "steps": slice(2, 6)},
    "importance": {"keep": ("layer", "train"), "importance": ("test", "output")},
}
OPTIMIZERS = {
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.3),
    "nesterov": lambda model: torch.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1, nesterov=True
    ),
}


@pytest.fixture(scope="module", params=OPTIMIZERS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("directional") / "run.zarr"
    return record_run(path, OPTIMIZERS[request.param], batches=BATCHES)


def both(run: Run, monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[xr.Dataset]:
    """The answer with and without the gradients of single samples."""
    found = []
    for directional in (True, False):
        monkeypatch.setattr(PLANNING, "cheaper", lambda problem, rows, on=directional: on)
        given = {"train": run.train, "test": run.test, **options}
        found.append(explaind.influence(run.path, run.model, run.loss, **given))
    assert [one.attrs["algorithm"] for one in found] == ["directional", "adjoint"]
    return found


def same(products: xr.Dataset, gradients: xr.Dataset) -> None:
    assert set(products.data_vars) == set(gradients.data_vars)
    assert float(abs(products.kernel).max()) > 1e-5
    for name, values in products.data_vars.items():
        np.testing.assert_allclose(values, gradients[name], atol=1e-13, rtol=1e-11, err_msg=name)


@pytest.mark.parametrize("query", QUERIES)
def test_the_same_as_by_gradients(run: Run, monkeypatch, query: str) -> None:
    same(*both(run, monkeypatch, **QUERIES[query]))


def test_more_rows_than_are_propagated_at_once(run: Run, monkeypatch) -> None:
    monkeypatch.setattr("explaind.attribution.directional.ROWS_AT_ONCE", 2)
    same(*both(run, monkeypatch, keep=("layer", "train", "test", "output")))


def test_traced_products_are_the_same(run: Run, monkeypatch) -> None:
    monkeypatch.setattr("explaind.features.batched.PLAIN_CALLS", 0)
    same(*both(run, monkeypatch, keep=("layer", "train", "test")))


def test_micro_batches_with_weights(tmp_path: Path, monkeypatch) -> None:
    """Accumulated gradients, scaled as a whole and sample by sample, and clipped."""
    torch.manual_seed(1)
    model, (train, test) = Net().double(), make_data()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    weights = torch.tensor([0.5, 2.0, 0.1], dtype=torch.float64)
    with explaind.record(tmp_path / "run.zarr", model, optimizer) as recorded:
        for _ in range(4):
            optimizer.zero_grad()
            (0.3 * F.cross_entropy(model(train[0][:4]), train[1][:4])).backward()
            recorded.batch(range(4), 0.3)
            each = F.cross_entropy(model(train[0][3:6]), train[1][3:6], reduction="none")
            (each * weights).sum().backward()
            recorded.batch([3, 4, 5], weights)
            nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            optimizer.step()
    run = Run(tmp_path / "run.zarr", model, F.cross_entropy, train, test, [])
    same(*both(run, monkeypatch, keep=("layer", "train", "test", "output")))


def test_the_choice_follows_rows_and_groups(run: Run) -> None:
    """Of a model with as many parameters as operations: products for one group, and for many rows of two groups gradients."""

    def problem(groups: Any, layers: str = "layer") -> Problem:
        query = Query(keep=(layers, "train", "test"), groups=groups)
        return make_problem(run.path, run.model, run.loss, query, train=run.train, test=run.test)

    assert cheaper(problem("all"), 1) and cheaper(problem("all"), 1000)
    assert cheaper(problem(None), 100) and not cheaper(problem(None), 1000)
    assert not cheaper(problem("parameter", "parameter"), 1)
