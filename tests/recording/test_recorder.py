"""Recording observes everything and changes nothing."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recorded_runs import INPUTS, TARGETS, flat, mlp, optimizer_state, trained
from torch import nn
from torch.nn.functional import cross_entropy

from explaind.attribution.certificate import verify
from explaind.attribution.record import record
from explaind.recording import Trajectory

OPTIMIZERS = [
    ("AdamW", {"weight_decay": 0.3}),
    ("AdamW", {"foreach": True}),
    ("AdamW", {"foreach": False, "maximize": True}),
    ("AdamW", {"fused": True}),
    ("Adam", {"weight_decay": 0.1, "betas": (0.8, 0.95)}),
    ("Adam", {"decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "dampening": 0.2, "weight_decay": 0.01}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "foreach": True}),
]
LOOPS = {
    "plain": {},
    "clipped": {"clip": 0.05},
    "scheduled": {"schedule": lambda step: 1 / (1 + step)},
    "all": {"clip": 0.3, "accumulate": 3, "schedule": lambda step: math.cos(step / 10)},
}
CASES = [(*optimizer, loop) for optimizer in OPTIMIZERS for loop in ("plain", "all")]
CASES += [
    (*optimizer, loop) for optimizer in (OPTIMIZERS[0], OPTIMIZERS[-1]) for loop in ("clipped", "scheduled")
]


@pytest.mark.parametrize(("optimizer", "options", "kind"), CASES)
def test_recording_changes_nothing_and_misses_nothing(
    tmp_path: Path, optimizer: str, options: dict[str, Any], kind: str
) -> None:
    loop = LOOPS[kind]
    alone = trained(None, optimizer=optimizer, options=options, **loop)
    generator = torch.get_rng_state()
    recorded = trained(tmp_path / "run.zarr", optimizer=optimizer, options=options, **loop)
    for mine, theirs in zip(recorded.thetas, alone.thetas, strict=True):
        assert torch.equal(mine, theirs)
    for mine, theirs in zip(
        optimizer_state(recorded.optimizer), optimizer_state(alone.optimizer), strict=True
    ):
        assert torch.equal(mine, theirs)
    assert torch.equal(torch.get_rng_state(), generator)

    trajectory = Trajectory(tmp_path / "run.zarr")
    assert (trajectory.complete, trajectory.n_steps) == (True, 10)
    for step in (*range(11), *reversed(range(11))):
        assert torch.equal(trajectory.parameters(step), alone.thetas[step])
    if optimizer != "SGD":
        for step in range(10):
            assert torch.equal(trajectory.second_moment(step), alone.moments[step])
    seen = [batch.indices for step in range(10) for batch in trajectory.step(step).batches]
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(seen, alone.indices, strict=True))
    lr = [trajectory.step(step).lr[0] for step in range(10)]
    assert lr == [0.05 * loop.get("schedule", lambda step: 1.0)(step) for step in range(10)]
    assert [trajectory.step(step).count for step in range(10)] == list(range(1, 11))


def test_no_hook_stays_behind(tmp_path: Path) -> None:
    run = trained(tmp_path / "run.zarr")
    assert not run.optimizer._optimizer_step_pre_hooks
    assert not run.optimizer._optimizer_step_post_hooks
    assert not any(parameter._post_accumulate_grad_hooks for parameter in run.model.parameters())
    run.train(2)  # goes on unrecorded
    assert Trajectory(tmp_path / "run.zarr").n_steps == 10


def test_clip_factor_is_the_one_torch_used(tmp_path: Path) -> None:
    model = mlp(torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    factors = []
    with record(tmp_path / "run.zarr", model, optimizer) as run:
        for _ in range(5):
            optimizer.zero_grad()
            cross_entropy(model(INPUTS.double()), TARGETS).backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 0.2)
            factors.append(min(1.0, 0.2 / (float(norm) + 1e-6)))
            run.batch(range(40))
            optimizer.step()
    steps = [Trajectory(tmp_path / "run.zarr").step(s) for s in range(5)]
    np.testing.assert_allclose([step.clip_factor for step in steps], factors, rtol=1e-14)
    assert all(step.clip_uniform for step in steps)


def test_scaling_one_parameter_alone_is_not_uniform(tmp_path: Path) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with record(tmp_path / "run.zarr", model, optimizer) as run:
        for scale in (1.0, 0.5):
            optimizer.zero_grad()
            cross_entropy(model(INPUTS), TARGETS).backward()
            model[0].weight.grad *= scale
            run.batch(np.arange(40))
            optimizer.step()
    trajectory = Trajectory(tmp_path / "run.zarr")
    assert [trajectory.step(s).clip_uniform for s in range(2)] == [True, False]
    assert trajectory.step(0).clip_factor == 1.0


def test_groups_tied_frozen_and_unused_parameters_and_buffers(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", torch.tensor([2, 3]))
            self.norm = nn.BatchNorm1d(5).eval()
            self.first = nn.Linear(5, 5)
            self.again = self.first  # tied
            self.head = nn.Linear(5, 3)
            self.idle = nn.Parameter(torch.ones(2))
            self.first.bias.requires_grad_(False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.again(torch.tanh(self.first(self.norm(x)))))

    model = Net()
    model.norm.requires_grad_(False)
    optimizer = torch.optim.AdamW(
        [
            {"params": [*model.head.parameters(), model.idle], "lr": 0.1, "betas": (0.5, 0.6), "eps": 1e-4},
            {"params": model.first.parameters(), "weight_decay": 0.7},
        ],
        lr=0.01,
    )
    with record(tmp_path / "run.zarr", model, optimizer) as run:
        for _ in range(3):
            optimizer.zero_grad()
            cross_entropy(model(INPUTS), TARGETS).backward()
            run.batch(list(range(40)), weights=np.linspace(0, 1, 40))
            optimizer.step()
    trajectory = Trajectory(tmp_path / "run.zarr")
    assert trajectory.layout.names == ("first.weight", "head.weight", "head.bias")
    assert trajectory.layout.group == (1, 0, 0)
    step = trajectory.step(2)
    assert (step.lr, step.weight_decay) == ((0.1, 0.01), (0.01, 0.7))
    assert (step.beta1, step.beta2, step.eps) == ((0.5, 0.9), (0.6, 0.999), (1e-4, 1e-8))
    torch.testing.assert_close(step.batches[0].weights, torch.linspace(0, 1, 40, dtype=torch.float64))
    roles = {name: entry["role"] for name, entry in trajectory.manifest["constants"].items()}
    assert roles["idle"] == "unused"
    assert roles["first.bias"] == "frozen"
    assert roles["scale"] == "buffer"
    assert torch.equal(trajectory.constants["scale"], torch.tensor([2, 3]))
    assert torch.equal(trajectory.constants["first.bias"], model.first.bias)
    final = trajectory.layout.unflatten(trajectory.parameters(3))
    assert torch.equal(final["head.weight"], model.head.weight)
    assert torch.equal(trajectory.layout.flatten(final), trajectory.parameters(3))
    trajectory.check_model(model)


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD"])
def test_a_run_that_starts_from_a_checkpoint(tmp_path: Path, optimizer: str) -> None:
    run = trained(None, optimizer=optimizer, options={"momentum": 0.9} if optimizer == "SGD" else {})
    key = "momentum_buffer" if optimizer == "SGD" else "exp_avg"
    held = [run.optimizer.state[parameter] for parameter in run.model.parameters()]
    before = torch.cat([state[key].reshape(-1) for state in held]).clone()
    start = flat(run.model)
    with record(tmp_path / "run.zarr", run.model, run.optimizer) as recorder:
        run.train(3, recorder)
    trajectory = Trajectory(tmp_path / "run.zarr")
    assert torch.equal(trajectory.initial_buffer, before)
    assert torch.equal(trajectory.parameters(0), start)
    assert trajectory.initial_count == (1 if optimizer == "SGD" else 10)
    assert trajectory.step(2).count == trajectory.initial_count + 3
    if optimizer == "AdamW":
        assert torch.equal(trajectory.initial_second_moment, run.moments[9])


@pytest.mark.parametrize("steps", [0, 1, 3, 4, 5, 8])
def test_any_number_of_steps(tmp_path: Path, steps: int) -> None:
    run = trained(tmp_path / "run.zarr", steps)
    trajectory = Trajectory(tmp_path / "run.zarr")
    trajectory.verify()
    assert (trajectory.n_steps, trajectory.complete) == (steps, True)
    assert torch.equal(trajectory.parameters(steps), run.thetas[-1])
    assert len(trajectory.metrics()) == steps


def test_metrics_describe_the_parameters_before_the_update(tmp_path: Path) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    with record(tmp_path / "run.zarr", model, optimizer, chunk_steps=2) as run:
        for step in range(4):
            loss = cross_entropy(model(INPUTS), TARGETS)
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            run.batch(torch.arange(40))
            run.log(loss=loss, odd=step % 2 == 1)
            run.log(**({"rare": math.nan} if step == 2 else {}))
            optimizer.step()
        losses.append(cross_entropy(model(INPUTS), TARGETS).item())
        run.log(loss=losses[-1])
    table = Trajectory(tmp_path / "run.zarr").metrics()
    assert table.step.tolist() == [0, 1, 2, 3, 4]
    assert table.loss.tolist() == losses
    assert table.rare.isna().all()


def test_batches_of_any_size(tmp_path: Path) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    sizes = [1, 5000, 3, 700, 2500, 1, 9000]
    generator = np.random.default_rng(0)
    wanted = [(generator.integers(40, size=size), generator.normal(size=size)) for size in sizes]
    with record(tmp_path / "run.zarr", model, optimizer, chunk_steps=2) as run:
        for indices, weights in wanted:
            optimizer.zero_grad()
            cross_entropy(model(INPUTS), TARGETS).backward()
            run.batch(indices)
            run.batch(indices[:1], weights=0.25)
            run.batch(indices, weights)
            optimizer.step()
    trajectory = Trajectory(tmp_path / "run.zarr")
    for step, (indices, weights) in enumerate(wanted):
        first, second, third = trajectory.step(step).batches
        assert first.weights is None
        assert second.weights == 0.25
        assert first.indices.tolist() == third.indices.tolist() == indices.tolist()
        assert third.weights.tolist() == weights.tolist()


def test_float64_models_and_channels_last(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 3)).double()
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters())
    with record(tmp_path / "run.zarr", model, optimizer) as run:
        cross_entropy(model(torch.randn(2, 3, 4, 4).double()), torch.tensor([0, 1])).backward()
        run.batch([0, 1])
        optimizer.step()
    trajectory = Trajectory(tmp_path / "run.zarr")
    assert trajectory.layout.dtype == torch.float64
    assert torch.equal(trajectory.parameters(1), flat(model))
    assert torch.equal(trajectory.layout.unflatten(trajectory.parameters(1))["0.weight"], model[0].weight)


def test_the_random_state_of_a_chunk_redraws_its_batches(tmp_path: Path) -> None:
    run = trained(tmp_path / "run.zarr")
    trajectory = Trajectory(tmp_path / "run.zarr")
    for step in (0, 4, 8):
        torch.set_rng_state(trajectory.rng_state(step))
        assert torch.equal(torch.randint(len(INPUTS), (6,)), run.indices[step])


def test_rows_are_kept_in_bounded_memory(tmp_path: Path) -> None:
    run = trained(tmp_path / "run.zarr", 40)
    trajectory = Trajectory(tmp_path / "run.zarr", cached_chunks=2)
    for step in (*range(41), *reversed(range(41))):
        assert torch.equal(trajectory.parameters(step), run.thetas[step])
        assert all(len(kept) <= 2 for kept in trajectory._reader.cache.values())


def test_a_closure_is_called_once_and_trains_alike(tmp_path: Path) -> None:
    """`step(closure)` as Lightning calls it: gradients are reset and made inside, and the loss comes back."""

    def train(path: Path | None) -> tuple[nn.Module, list[float], int]:
        model, calls = mlp(), 0
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
        with record(path, model, optimizer) if path else nullcontext() as run:
            losses = []
            for step in range(3):

                def closure(step: int = step) -> torch.Tensor:
                    nonlocal calls
                    calls += 1
                    optimizer.zero_grad()
                    loss = cross_entropy(model(INPUTS[step:]), TARGETS[step:])
                    loss.backward()
                    if run is not None:
                        run.batch(range(step, len(INPUTS)))
                    return loss

                with torch.no_grad():
                    losses.append(float(optimizer.step(closure) if step else optimizer.step(closure=closure)))
        return model, losses, calls

    (alone, losses, _), (recorded, same, calls) = train(None), train(tmp_path / "run.zarr")
    assert losses == same and calls == 3
    assert torch.equal(flat(alone), flat(recorded))
    trajectory = Trajectory(tmp_path / "run.zarr")
    assert torch.equal(trajectory.parameters(3), flat(recorded))
    replayed = verify(tmp_path / "run.zarr", mlp(), cross_entropy, train=(INPUTS, TARGETS))
    assert replayed.attrs["passed"]
