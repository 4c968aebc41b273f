"""Momentum that a resumed optimizer starts with is a term of its own, whatever axes are kept."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import explaind
from tests.attribution.tiny import Run, make_data, record_run

KEEPS = [
    (("step", "train", "test", "output"), "update"),
    (("step", "train", "test"), "sample"),
    (("layer", "train", "test", "output"), "update"),
    (("step", "layer", "test", "output"), "update"),
    (("layer",), "update"),
]


def resumed(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    x, y = make_data(9)[0]
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    optimizer.zero_grad()


@pytest.fixture(scope="module", params=["adamw", "sgd"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    make = {
        "adamw": lambda m: torch.optim.AdamW(m.parameters(), lr=0.02),
        "sgd": lambda m: torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1),
    }[request.param]
    return record_run(tmp_path_factory.mktemp("carried") / "run.zarr", make, before=resumed, steps=4)


@pytest.mark.parametrize(("keep", "lineage"), KEEPS)
@pytest.mark.parametrize("window", [(0, 4), (1, 3)])
def test_carried_momentum(run: Run, keep: tuple[str, ...], lineage: str, window: tuple[int, int]) -> None:
    reference = run.reference(nodes=12, start=window[0], stop=window[1])
    scores = explaind.influence(
        run.path, run.model, run.loss, train=run.train, test=run.test[0], keep=keep, lineage=lineage,
        steps=slice(*window), tolerance=1e-10, max_nodes=243, tail_tolerance=0,
    )  # fmt: skip
    carried = reference.carried  # [S, D, X, O]
    assert float(carried.abs().max()) > 1e-5
    dims = scores.carried.dims
    assert set(dims) <= set(keep)
    if "layer" in dims:
        carried = torch.stack([carried[:, :16].sum(1), carried[:, 16:].sum(1)], 1)
    else:
        carried = carried.sum(1, keepdim=True)
    drop = [axis for axis, name in enumerate(("step", "layer", "test", "output")) if name not in dims]
    expected = carried.sum(drop) if drop else carried
    torch.testing.assert_close(torch.tensor(scores.carried.values), expected, atol=2e-8, rtol=0)

    total = scores.initial
    for name in ("kernel", "regularization", "carried", "residual"):
        total = total + scores[name].sum([d for d in scores[name].dims if d not in ("test", "output")])
    assert float(abs(total - scores.final).max()) < 1e-12
    assert float(abs(scores.residual).max()) < 1e-8
    assert float(abs(scores.replay).max()) < 1e-12


def test_importance_has_it_too(run: Run) -> None:
    options = {"train": run.train, "test": run.test[0], "tolerance": 1e-9, "tail_tolerance": 0}
    signed = explaind.influence(run.path, run.model, run.loss, keep=("layer", "train", "test"), **options)
    found = explaind.influence(
        run.path, run.model, run.loss, keep=("layer", "train"), importance="test", **options
    )
    for name in ("kernel", "regularization", "carried"):
        expected = abs(signed[name]).sum("test").values
        torch.testing.assert_close(
            torch.tensor(found[name].values), torch.tensor(expected), atol=1e-8, rtol=0
        )
        expected = abs(signed[name].sum("layer")).sum("test").values
        got = torch.tensor(found[f"{name}_all"].values)
        torch.testing.assert_close(got, torch.tensor(expected), atol=1e-8, rtol=0)


@pytest.mark.parametrize("keep", [("layer", "train"), ("layer",), ("train",), ()])
def test_importance_of_one_group(run: Run, keep: tuple[str, ...]) -> None:
    """A group that is called "all", or the only one there is, is a group like any other."""
    found = explaind.influence(
        run.path,
        run.model,
        run.loss,
        train=run.train,
        test=run.test[0],
        keep=keep,
        importance="test",
        groups="all",
    )
    for name in ("kernel", "regularization"):
        assert "layer" not in keep or found[name].layer.values.tolist() == ["all"]
        one = found[name].squeeze("layer", drop=True) if "layer" in keep else found[name]
        torch.testing.assert_close(torch.tensor(one.values), torch.tensor(found[f"{name}_all"].values))
