"""Some training samples one by one, all others together: the same numbers as with all of them, and the same sum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import explaind
from explaind.errors import QueryError
from tests.attribution.tiny import Run, record_run

CHOSEN = [5, 0, 3]  # in an order of their own
BATCHES = [[0, 1, 2, 3], [4, 6], [2, 0, 5], [6, 1, 2, 4], [0, 2, 4, 6], [1, 3, 5]]  # two without any of them
KEEPS = [
    (("layer", "train", "test"), "update"),
    (("train", "test", "output"), "update"),
    (("step", "train", "test"), "sample"),
    (("step", "layer", "train", "test"), "update"),
]
BOTH = pytest.mark.parametrize(("keep", "lineage"), KEEPS)


OPTIMIZERS = {
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), lr=0.02),
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1),
}


@pytest.fixture(scope="module", params=OPTIMIZERS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("chosen") / "run.zarr"
    return record_run(path, OPTIMIZERS[request.param], batches=BATCHES)


def ask(run: Run, **options: object) -> xr.Dataset:
    chosen = {"tolerance": 1e-10, "max_nodes": 243, "tail_tolerance": 0, "steps": slice(2, 5), **options}
    return explaind.influence(run.path, run.model, run.loss, train=run.train, test=run.test[0], **chosen)


@BOTH
def test_the_chosen_samples_have_the_same_kernel_and_the_others_the_rest(run, keep, lineage) -> None:
    every = ask(run, keep=keep, lineage=lineage)
    some = ask(run, keep=keep, lineage=lineage, samples=CHOSEN)
    assert list(some.train.values) == CHOSEN
    np.testing.assert_allclose(some.kernel, every.kernel.sel(train=CHOSEN), atol=1e-13, rtol=0)
    rest = every.kernel.drop_sel(train=CHOSEN).sum("train")
    assert some.others.dims == rest.dims
    assert float(abs(rest).max()) > 1e-5
    np.testing.assert_allclose(some.others, rest, atol=1e-12, rtol=0)


@BOTH
def test_completeness(run, keep, lineage) -> None:
    scores = ask(run, keep=keep, lineage=lineage, samples=slice(1, 4))
    total = scores.initial
    for name in ("kernel", "others", "regularization", "residual"):
        total = total + scores[name].sum([d for d in scores[name].dims if d not in ("test", "output")])
    assert float(abs(total - scores.final).max()) < 1e-12
    assert float(abs(scores.replay).max()) < 1e-12


def test_importance_of_the_others(run) -> None:
    options = {"samples": CHOSEN, "keep": ("layer", "train")}
    signed = ask(run, **{**options, "keep": ("layer", "train", "test", "output")})
    importance = ask(run, **options, importance=("test", "output"))
    np.testing.assert_allclose(importance.others, abs(signed.others).sum(("test", "output")), atol=1e-12)
    assert float(importance.replay) < 1e-12


def test_a_tail_that_is_cut_is_cut_for_the_others_too(run) -> None:
    every, some = (
        ask(run, keep=("train", "test"), tail_tolerance=0.85, samples=chosen, steps=slice(4, 5))
        for chosen in (None, CHOSEN)
    )
    rest = every.kernel.drop_sel(train=CHOSEN).sum("train")
    np.testing.assert_allclose(some.others, rest, atol=1e-12, rtol=0)


@pytest.mark.parametrize("samples", [[], [1, 1], [-1], [10_000], [0.5], [True], slice(3, 3)])
def test_samples_that_do_not_exist(run, samples) -> None:
    with pytest.raises(QueryError, match="training samples are not usable"):
        ask(run, keep=("train", "test"), samples=samples)


def test_samples_without_their_axis(run) -> None:
    with pytest.raises(QueryError, match="chosen, but not kept"):
        ask(run, keep=("layer", "test"), samples=CHOSEN)
