"""Batch normalisation in training mode: exact where training samples are summed, and refused where they are resolved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import explaind
from explaind.errors import QueryError, StoreError
from explaind.reference.recordings import decompose, model_value
from tests.attribution.tiny import Net, Run, make_data
from tests.situations import EXACT_SUMMED, situation

BATCHES = [[0, 1, 2, 3], [3, 4, 5, 6], [0, 2, 4, 6], [1, 3, 5, 6], [0, 1, 5, 6]]


class Normalized(Net):
    """A batch norm between the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.norm(self.first(x))))


def train(path: Path, model: nn.Module | None = None, stop: int = 5, **options: object) -> Run:
    torch.manual_seed(0)
    model = Normalized().double() if model is None else model
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.1)
    data, test = make_data()
    with explaind.record(path, model, optimizer, chunk_steps=2, **options) as run:
        for index in BATCHES[run.step : stop]:
            optimizer.zero_grad()
            F.cross_entropy(model(data[0][index]), data[1][index]).backward()
            run.batch(index)
            optimizer.step()
    return Run(path, model.eval(), F.cross_entropy, data, test, BATCHES)


def explained(run: Run, keep: tuple[str, ...], **options: object):
    options = {"tolerance": 1e-10, "max_nodes": 243, "tail_tolerance": 0, **options}
    return explaind.influence(
        run.path, run.model, run.loss, train=run.train, test=run.test[0], keep=keep, **options
    )


@situation("Models and losses", "batch normalisation in training mode", EXACT_SUMMED)
def test_summed_samples_are_exact(tmp_path: Path) -> None:
    run = train(tmp_path / "run.zarr")
    assert not torch.equal(run.model.norm.running_mean, torch.zeros(4, dtype=torch.float64))

    def batch_gradient(theta: dict[str, Tensor], s: int) -> dict[int, Tensor]:
        network = Normalized().double()
        network.load_state_dict(theta, strict=False)
        (batch,) = run.trajectory.step(s).batches
        F.cross_entropy(network(run.train[0][batch.indices]), run.train[1][batch.indices]).backward()
        return {0: torch.cat([parameter.grad.flatten() for parameter in network.parameters()])}

    value = model_value(run.model, run.test[0])
    reference = decompose(run.trajectory, run.model, batch_gradient, value, train=1, nodes=16)
    assert reference.replay < 1e-11
    scores = explained(run, ("step", "parameter", "test", "output"))
    assert float(abs(scores.residual).max()) < 1e-8
    truth = reference.influence.sum((1, 2))
    torch.testing.assert_close(torch.tensor(scores.kernel.sum("parameter").values), truth, atol=1e-8, rtol=0)
    final = run.model(run.test[0]).detach()
    torch.testing.assert_close(torch.tensor(scores.final.values), final, atol=1e-12, rtol=0)
    assert scores.attrs["running_statistics"] == "after update 5"
    assert explaind.verify(run.path, run.model, run.loss, train=run.train, test=run.test).attrs["passed"]


def test_single_samples_are_refused(tmp_path: Path) -> None:
    run = train(tmp_path / "run.zarr")
    with pytest.raises(QueryError, match="normalised together"):
        explained(run, ("train", "test"))


def test_resumed_as_if_uninterrupted(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole.zarr")
    train(tmp_path / "parts.zarr", stop=3)
    torch.manual_seed(0)
    parts = train(tmp_path / "parts.zarr", Normalized().double(), resume=True)
    assert parts.trajectory.n_steps == 5
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, parts.model.state_dict()[name]), name
    for run in (whole, parts):
        for name, value in run.model.named_buffers():
            assert torch.equal(run.trajectory.constants[name], value), name


def test_statistics_that_only_stand_still_are_constants(tmp_path: Path) -> None:
    """Frozen normalisations beside active ones, and damage to what was kept."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4), nn.Linear(4, 3)).double()
    frozen = model[2]
    frozen.train = lambda mode=True: nn.Module.train(frozen, False)
    run = train(tmp_path / "run.zarr", model)
    assert float(abs(explained(run, ("layer", "test")).residual).max()) < 1e-8
    with (run.path / "statistics-0.bin").open("r+b") as file:
        file.seek(40)
        file.write(b"damage")
    with pytest.raises(StoreError, match="statistics.*damaged"):
        explained(run, ("layer", "test"))
