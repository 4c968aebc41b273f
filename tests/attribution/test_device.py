"""Where a run is explained: on the kind of device that it was trained on."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import explaind
from explaind.runtime.device import find_device
from tests.attribution.tiny import Net, Run, make_data, record_run

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")],
    ),
]
OPTIMIZERS = {
    "adamw": lambda m: torch.optim.AdamW(m.parameters(), lr=0.005, weight_decay=0.5),
    "sgd": lambda m: torch.optim.SGD(m.parameters(), lr=0.0125, momentum=0.9, weight_decay=0.05),
}


@pytest.mark.parametrize(
    "recorded, found", [("cpu", "cpu"), ("mps", "cpu"), ("cuda", "cuda"), (None, "cuda")]
)
def test_a_gpu_in_sight_is_used_for_runs_that_it_trained(
    monkeypatch: pytest.MonkeyPatch, recorded: str | None, found: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert find_device(recorded).type == found


def test_without_a_gpu_everything_runs_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert {find_device(recorded).type for recorded in ("cpu", "cuda", None)} == {"cpu"}


def test_a_run_of_the_processor_is_explained_there_with_a_gpu_in_sight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU is a claim here: a tensor sent to it could not be made."""
    run = record_run(tmp_path / "run.zarr", OPTIMIZERS["adamw"])
    asked = {"train": run.train, "test": run.test[0], "keep": ("layer", "train"), "nodes": 2}
    expected = explaind.influence(run.path, run.model, run.loss, **asked)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert run.trajectory.device == "cpu"
    assert explaind.influence(run.path, run.model, run.loss, **asked).equals(expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_on_a_device_equals_the_definition(tmp_path: Path, optimizer: str, device: str) -> None:
    torch.manual_seed(0)
    model = Net().to(device, torch.float64)
    train, test = make_data()
    moving, path = OPTIMIZERS[optimizer](model), tmp_path / "run.zarr"
    batches = [[0, 1, 2], [3, 4, 5], [6, 0, 0], [1, 2]]
    with explaind.record(path, model, moving, chunk_steps=2) as recorder:
        for index in batches:
            moving.zero_grad()
            F.cross_entropy(model(train[0][index].to(device)), train[1][index].to(device)).backward()
            recorder.batch(index)
            moving.step()
    assert explaind.Trajectory(path).device == device
    found = explaind.influence(
        path, model, F.cross_entropy, train=train, test=test[0], keep=("layer", "train", "test", "output"),
        tolerance=1e-10, max_nodes=243, tail_tolerance=0,
    )  # fmt: skip
    assert explaind.verify(path, model, F.cross_entropy, train=train).passed
    still: nn.Module = copy.deepcopy(model).to("cpu")
    tensors = Run(path, still, F.cross_entropy, train, test, batches).reference(nodes=12)
    kernel = tensors.influence.sum(0)
    layers = torch.stack([kernel[:16].sum(0), kernel[16:].sum(0)])
    torch.testing.assert_close(torch.from_numpy(found.kernel.values), layers, rtol=0, atol=5e-9)
