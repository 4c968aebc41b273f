"""The certificate: it passes on what followed from its batches, and shows what did not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import explaind
from explaind.errors import LedgerError, QuadratureWarning, QueryError
from explaind.recording.trajectory import Trajectory
from tests.attribution.tiny import Net, Run, make_data, record_run

OPTIMIZERS = {
    "adamw": lambda m: torch.optim.AdamW(m.parameters(), lr=0.02, weight_decay=0.3),
    "adam": lambda m: torch.optim.Adam(m.parameters(), lr=0.02, weight_decay=0.3),
    "nesterov": lambda m: torch.optim.SGD(
        m.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.1
    ),
}


def certified(run: Run, **options):
    return explaind.verify(run.path, run.model, run.loss, train=run.train, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_good_run_passes(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    run = record_run(tmp_path / "run.zarr", OPTIMIZERS[name], dtype=dtype, clip=0.2)
    found = certified(run, test=run.test[0])
    assert found.attrs["passed"] == 1
    assert list(found.data_vars) == [
        "replay_error", "replay_relative", "replay_rounding", "clip_factor", "quadrature_error", "nodes",
    ]  # fmt: skip
    assert found.step.values.tolist() == [0, 1, 2, 3, 4]
    single = dtype == torch.float32
    assert found.attrs["tolerance"] == (1e-3 if single else 1e-8)
    assert found.attrs["quadrature_tolerance"] == 1e-2
    assert float(found.replay_relative.max()) < (1e-3 if single else 1e-12)
    # the largest entry is at most the length: ‖û − u‖∞ ≤ ‖û − u‖₂ = relative · ‖u‖₂
    theta = torch.stack([run.trajectory.parameters(s).double() for s in range(6)])
    length = theta.diff(dim=0).norm(dim=1).numpy()
    assert (found.replay_error.values <= found.replay_relative.values * length * (1 + 1e-6)).all()
    assert float(found.clip_factor.min()) < 1.0
    assert float(found.quadrature_error.max()) <= 1e-2
    assert float(found.nodes.min()) >= 1


def test_without_tests_only_the_replay_is_certified(tmp_path: Path) -> None:
    run = record_run(tmp_path / "run.zarr", OPTIMIZERS["adamw"], steps=2)
    found = certified(run)
    assert "quadrature_error" not in found
    assert found.attrs["passed"] == 1


class Edited(Trajectory):
    """A run whose θ_4 is not the one that training had, checksums and all."""

    def parameters(self, s: int) -> torch.Tensor:
        theta = super().parameters(s)
        if s == 4:
            theta = theta.clone()
            theta[0] += 1e-4
        return theta


def test_parameters_that_were_edited_fail_at_their_updates(tmp_path: Path) -> None:
    run = record_run(tmp_path / "run.zarr", OPTIMIZERS["adamw"], steps=6)
    found = explaind.verify(Edited(run.path), run.model, run.loss, train=run.train, test=run.test[0])
    assert found.attrs["passed"] == 0
    np.testing.assert_allclose(found.replay_error.values[3:5], 1e-4, rtol=0.05)
    assert float(found.replay_relative[:3].max()) < 1e-12
    with pytest.raises(LedgerError, match="cannot be rebuilt"):
        explaind.influence(
            Edited(run.path), run.model, run.loss, train=run.train, test=run.test[0], steps=slice(3, 4)
        )


def test_a_batch_that_was_another_fails_from_its_update_on(tmp_path: Path) -> None:
    """Update 4 was recorded without the last sample that it saw; the momentum carries the difference on."""
    torch.manual_seed(0)
    model, (train, test) = Net().double(), make_data()
    optimizer = OPTIMIZERS["adamw"](model)
    with explaind.record(tmp_path / "run.zarr", model, optimizer, chunk_steps=2) as recorder:
        for s in range(6):
            optimizer.zero_grad()
            F.cross_entropy(model(train[0]), train[1]).backward()
            recorder.batch(range(6 if s == 4 else 7))
            optimizer.step()
    found = certified(Run(tmp_path / "run.zarr", model, F.cross_entropy, train, test, []))
    assert found.attrs["passed"] == 0
    assert float(found.replay_relative[:4].max()) < 1e-12
    assert float(found.replay_relative[4:].min()) > 1e-3


@pytest.mark.parametrize("part", [0, 1])
def test_other_data_fail(part: int, tmp_path: Path) -> None:
    run = record_run(tmp_path / "run.zarr", OPTIMIZERS["nesterov"], steps=2)
    run.train = tuple(values.flip(0) if i == part else values for i, values in enumerate(run.train))
    assert certified(run).attrs["passed"] == 0


def test_a_coarse_quadrature_fails_and_says_where(tmp_path: Path) -> None:
    run = record_run(tmp_path / "run.zarr", OPTIMIZERS["adamw"], steps=3)
    found = certified(run, test=run.test[0], tolerance=1e-9, max_nodes=3)
    assert found.attrs["passed"] == 0
    assert float(found.replay_relative.max()) < 1e-12
    assert float(found.quadrature_error.max()) > 1e-9
    assert certified(run, test=run.test[0], tolerance=1e-9, max_nodes=729).attrs["passed"] == 1


def test_omitted_steps_are_measured(tmp_path: Path) -> None:
    run = record_run(tmp_path / "run.zarr", OPTIMIZERS["adamw"])
    found = certified(run, test=run.test[0], steps=[0, 1, 4])
    f = [
        torch.func.functional_call(
            run.model, run.trajectory.layout.unflatten(run.trajectory.parameters(s)), (run.test[0],)
        )
        for s in range(6)
    ]
    assert found.attrs["omitted"] == pytest.approx(float((f[4] - f[2]).abs().max()), rel=1e-6)
    assert np.isnan(found.quadrature_error.sel(step=[2, 3])).all()
    assert not np.isnan(found.replay_error).any()
    assert "omitted" not in certified(run, test=run.test[0]).attrs


def test_samples_are_needed(tmp_path: Path) -> None:
    run = record_run(tmp_path / "run.zarr", OPTIMIZERS["adamw"], steps=1)
    with pytest.raises(QueryError, match="training samples"):
        explaind.verify(run.path, run.model, None, train=run.train)


def mixed(model: nn.Module) -> torch.optim.Optimizer:
    groups = [{"params": model.first.parameters(), "momentum": 0.9}, {"params": model.second.parameters()}]
    return torch.optim.SGD(groups, lr=0.05)


def warmup(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: (0.0, 0.0, 1.0, 0.5, 0.0, 1.0)[s % 6])


@pytest.mark.parametrize("make", [mixed, OPTIMIZERS["adamw"], OPTIMIZERS["nesterov"]])
@pytest.mark.parametrize("schedule", [None, warmup])
@pytest.mark.parametrize("start", [1, 2, 4])
def test_a_check_may_begin_anywhere(
    make: Callable, schedule: Callable | None, start: int, tmp_path: Path
) -> None:
    """Also after an update with a learning rate of zero, and where one group has momentum and another none."""
    run = record_run(tmp_path / "run.zarr", make, schedule=schedule, steps=6)
    options = {"train": run.train, "test": run.test[0], "keep": ("train", "test"), "tail_tolerance": 0}
    window = slice(start, start + 1)
    scores = explaind.influence(run.path, run.model, run.loss, steps=window, nodes=9, **options)
    assert float(abs(scores.replay).max()) < 1e-12
    run.train = (run.train[0].flip(0), run.train[1])
    if torch.equal(run.trajectory.parameters(start), run.trajectory.parameters(start + 1)):
        assert float(abs(scores.kernel).max()) == 0  # nothing moved yet, so nothing rests on the samples
        return
    with pytest.raises(LedgerError, match="cannot be rebuilt"):
        explaind.influence(run.path, run.model, run.loss, steps=window, **{**options, "train": run.train})


def test_updates_that_rounding_hides_prove_nothing(tmp_path: Path) -> None:
    """At a learning rate of 1e-7 in float32 the stored parameters barely move: wrong data would pass, so it is refused."""
    run = record_run(
        tmp_path / "run.zarr",
        lambda m: torch.optim.SGD(m.parameters(), lr=1e-7),
        dtype=torch.float32,
        steps=3,
    )
    certificate = explaind.verify(run.path, run.model, run.loss, train=run.train)
    assert certificate.attrs["undecided"] == 3
    assert not certificate.attrs["passed"]
    with pytest.raises(LedgerError, match="too small to be checked"):
        explaind.influence(run.path, run.model, run.loss, train=run.train, test=run.test[0])


def test_an_unreached_tolerance_is_said_aloud(tmp_path: Path) -> None:
    run = record_run(tmp_path / "run.zarr", lambda m: torch.optim.SGD(m.parameters(), lr=1.0), steps=2)
    with pytest.warns(QuadratureWarning, match="2 of 2 updates"):
        scores = explaind.influence(
            run.path, run.model, run.loss, test=run.test[0], tolerance=1e-9, max_nodes=3
        )
    assert scores.attrs["updates_above_tolerance"] == 2
