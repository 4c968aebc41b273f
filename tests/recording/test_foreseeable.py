"""Forms a user may hand to the recorder: parameters without axes, batches of any kind, options as tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from recorded_runs import INPUTS, TARGETS, flat, mlp
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import explaind
from explaind.attribution.certificate import verify
from explaind.attribution.record import record
from explaind.errors import RecordingError
from explaind.recording import Trajectory
from explaind.recording.steps import micro_batch


class Scaled(nn.Module):
    """Linear, then a learned temperature and a learned shift, both without axes."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(5, 3)
        self.temperature, self.shift = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.tensor(0.1))

    def forward(self, x: Tensor) -> Tensor:
        return self.read(x).tanh() * self.temperature + self.shift


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_parameters_without_axes(name: str, tmp_path: Path) -> None:
    """Recorded, resumed, clipped, in groups of their own: training is what it is without a recorder."""
    thetas = []
    for path in (None, tmp_path / "run.zarr"):
        torch.manual_seed(0)
        model = Scaled()
        scalars = [model.temperature, model.shift]
        groups = [{"params": model.read.parameters()}, {"params": scalars, "weight_decay": 0.3}]
        optimizer = getattr(torch.optim, name)(groups, lr=0.1)
        run = record(path, model, optimizer, chunk_steps=2) if path else None
        if run is not None:
            run.__enter__()
        for step in range(4):
            if step == 2 and run is not None:
                run.__exit__(None, None, None)
                run = record(path, model, optimizer, chunk_steps=2, resume=True)
                run.__enter__()
                assert run.step == 2
            optimizer.zero_grad()
            cross_entropy(model(INPUTS), TARGETS).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            if run is not None:
                run.batch(range(40))
            optimizer.step()
        if run is not None:
            run.__exit__(None, None, None)
        thetas.append(flat(model))
    assert torch.equal(*thetas)
    trajectory = Trajectory(tmp_path / "run.zarr")
    named = trajectory.layout.unflatten(trajectory.parameters(4))
    assert named["temperature"].shape == () and torch.equal(named["temperature"], model.temperature)
    torch.testing.assert_close(trajectory.layout.flatten(named), thetas[0], rtol=0, atol=0)
    many = trajectory.layout.unflatten(torch.stack([thetas[0], thetas[0]]))
    assert many["shift"].shape == (2,)
    assert trajectory.layout.flatten(many).shape == (2, len(thetas[0]))
    certificate = verify(trajectory, model, cross_entropy, train=(INPUTS, TARGETS), replay_tolerance=1e-3)
    assert certificate.attrs["passed"]
    scores = explaind.influence(
        trajectory,
        model,
        test=INPUTS[:2],
        keep=("layer",),
        groups={"a": ["read.*"], "b": ["temperature", "shift"]},
    )
    assert float(abs(scores.regularization.sel(layer="b"))) > 0


@pytest.mark.parametrize(
    "given",
    [
        [3, 1],
        (3, 1),
        torch.tensor([3, 1]),
        torch.tensor([3, 1], dtype=torch.int16),
        np.array([3, 1]),
        np.array([3, 1], dtype=">i4"),
        np.array([1, 3])[::-1],
        [torch.tensor(3), torch.tensor(1)],
        [torch.tensor([3]), torch.tensor([1])],
        [np.int64(3), np.array(1)],
        pd.Series([3, 1]),
        (number for number in (3, 1)),
        map(int, "31"),
        range(3, 0, -2),
    ],
)
def test_indices_in_any_ordered_form(given: Any) -> None:
    found = micro_batch(given).indices
    assert (found.tolist(), found.dtype) == ([3, 1], torch.int64)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (slice(0, 4), r"slice.*range\(start, stop\)"),
        ({3, 1}, "a set, which has no order.*pass a list"),
        (frozenset({3}), "a frozenset, which has no order"),
        ({3: 1}, "a dict, which has no order"),
        (np.array([True, False]), r"mask\.nonzero\(\)"),
        ([True, False], r"mask\.nonzero\(\)"),
        ([True, 3], "truth values among numbers"),
        (np.array([1.0]), "integers.*float64"),
        ([1.0, 2.0], "integers.*float64"),
        (torch.tensor(3), r"1-D.*shape \(\)"),
        (3, r"1-D.*shape \(\)"),
        (iter([]), "non-empty"),
        ("31", "str.*list of numbers"),
        ([None], "list of numbers"),
        (None, "list of numbers"),
        (object(), "list of numbers"),
        ([[1], [2, 3]], "list of numbers"),
        ([2**70], "list of numbers"),
        ([1j], "integers"),
        (torch.eye(2).to_sparse(), "1-D"),
    ],
)
def test_what_is_no_list_of_indices(given: Any, words: str) -> None:
    with pytest.raises(RecordingError, match=words):
        micro_batch(given)


def test_weights_in_any_form() -> None:
    leaf = torch.tensor(0.5, requires_grad=True)
    for given in (
        [leaf, 1],
        (w for w in (0.5, 1)),
        np.array([0.5, 1], dtype=np.float32),
        [torch.tensor(0.5), 1],
    ):
        assert micro_batch([0, 1], given).weights.tolist() == [0.5, 1.0]
    assert micro_batch([0, 1], leaf).weights == 0.5
    assert micro_batch([0, 1], [0.1, 0.3]).weights.tolist() == [0.1, 0.3]  # not rounded to single precision
    assert micro_batch([0, 1], views=(flip for flip in (True, False))).views.tolist() == [1, 0]
    for given, words in (({0.5, 1}, "weights.*no order"), ([1j, 1], "do not fit"), ("ab", "weights.*str")):
        with pytest.raises(RecordingError, match=words):
            micro_batch([0, 1], given)


OPTIONS = {
    "SGD": {"momentum": 0.9, "weight_decay": 0.1},
    "Adam": {"weight_decay": 0.1},
    "AdamW": {"weight_decay": 0.1},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("how", [{"foreach": False}, {"fused": True}, {}])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_float32_tensor_as_learning_rate(
    name: str, how: dict[str, bool], dtype: torch.dtype, tmp_path: Path
) -> None:
    """torch rounds a float64 update of Adam to float32 then, unless its kernel is fused: refused; the rest is rebuilt to
    the rounding of θ."""
    model = mlp(dtype)
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=torch.tensor(0.01), **OPTIONS[name], **how)
    if name != "SGD" and dtype == torch.float64 and not how.get("fused"):
        with pytest.raises(
            RecordingError, match=r"option lr of parameter group 0 .* too little precision.*numbers"
        ):
            record(tmp_path / "run.zarr", model, optimizer)
        return
    with record(tmp_path / "run.zarr", model, optimizer) as run:
        for _ in range(4):
            optimizer.zero_grad()
            cross_entropy(model(INPUTS.to(dtype)), TARGETS).backward()
            run.batch(range(40))
            optimizer.step()
    trajectory = Trajectory(tmp_path / "run.zarr")
    assert trajectory.step(0).lr == (float(torch.tensor(0.01)),)
    certificate = verify(
        trajectory,
        model,
        cross_entropy,
        train=(INPUTS.to(dtype), TARGETS),
        replay_tolerance=0.0,
        tolerance=1e-5,
    )
    assert bool((certificate.replay_relative <= certificate.replay_rounding).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_other_options_as_tensors(dtype: torch.dtype, tmp_path: Path) -> None:
    model = mlp(dtype)
    betas = {
        kind: tuple(torch.tensor(b, dtype=kind) for b in (0.9, 0.999))
        for kind in (torch.float32, torch.float64)
    }
    made = torch.optim.Adam(model.parameters(), lr=0.1, betas=betas[torch.float32], foreach=False)
    with pytest.raises(RecordingError, match=r"option betas .* too little precision"):
        record(tmp_path / "run.zarr", model, made)
    made = torch.optim.Adam(model.parameters(), lr=0.1, betas=betas[torch.float64], foreach=False)
    record(tmp_path / "run.zarr", model, made)


def test_a_learning_rate_that_becomes_a_tensor_during_training(tmp_path: Path) -> None:
    model = mlp(torch.float64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    with (
        pytest.raises(RecordingError, match="too little precision"),
        record(tmp_path / "run.zarr", model, optimizer) as run,
    ):
        for _ in range(2):
            cross_entropy(model(INPUTS.double()), TARGETS).backward()
            run.batch(range(40))
            optimizer.step()
            optimizer.param_groups[0]["lr"] = torch.tensor(0.01)
