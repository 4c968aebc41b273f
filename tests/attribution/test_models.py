"""Models of many kinds of layers: explained whole, and alike by every algorithm."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import xarray as xr

import explaind
from explaind.errors import QueryError
from tests.attribution.layers import MODELS, Decides
from tests.attribution.tiny import record_run


def momentum(model: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)


def squares(f: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
    return f.square().sum(-1)


def by_test(values: xr.DataArray) -> xr.DataArray:
    return values.sum([axis for axis in values.dims if axis != "test"])


@pytest.mark.parametrize("name", MODELS)
def test_complete_and_alike_by_every_algorithm(name: str, tmp_path: Path) -> None:
    """Completeness is exact for any number of nodes. The rule's nodes are the same for every algorithm, so the parts are."""
    run = record_run(tmp_path / "run.zarr", momentum, model=MODELS[name](), steps=3)
    found = {}
    for keep in (
        ("layer", "test"),
        ("layer", "test", "output"),
        ("layer", "train", "test"),
        ("parameter", "test"),
    ):
        for nodes in (1, 3):
            scores = explaind.influence(
                run.path, run.model, run.loss, train=run.train, test=run.test[0],
                keep=keep, target=squares, nodes=nodes, tail_tolerance=0,
            )  # fmt: skip
            terms = [by_test(scores[name]) for name in ("kernel", "regularization", "residual")]
            change = by_test(scores.final) - by_test(scores.initial)
            assert float(abs(sum(terms) - change).max()) < 1e-12
            parts = terms[0] + terms[1]
            found[keep, nodes] = parts.values
    for (_keep, nodes), parts in found.items():
        torch.testing.assert_close(
            torch.tensor(parts), torch.tensor(found[("layer", "test"), nodes]), atol=1e-12, rtol=0
        )


def test_control_flow_that_depends_on_values(tmp_path: Path) -> None:
    """Such a model is not traced; forward mode, which does not vectorise over samples, explains it."""
    run = record_run(tmp_path / "run.zarr", momentum, model=Decides(), steps=3)
    scores = explaind.influence(
        run.path,
        run.model,
        run.loss,
        train=run.train,
        test=run.test[0],
        keep=("layer", "test", "output"),
        nodes=27,
    )
    assert scores.attrs["algorithm"] == "forward"
    assert float(abs(scores.residual).max()) < 1e-2
    with pytest.raises(QueryError, match="sample by sample"):
        explaind.influence(
            run.path, run.model, run.loss, train=run.train, test=run.test[0], keep=("train", "test")
        )
