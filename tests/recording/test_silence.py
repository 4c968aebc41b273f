"""What goes wrong between updates is said while the run is recorded, or resolved and right."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import explaind
from explaind.errors import LedgerError, RecordingError, RecordingWarning, ReplayWarning, StoreError

X = torch.randn(30, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.arange(30) % 2
MAKE: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=0.02, weight_decay=0.1),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.05),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.05),
}


def net(dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).to(dtype)


class Loop:
    """A training loop one can interfere with."""

    def __init__(self, name: str = "adamw", *, to_none: bool = True) -> None:
        self.model = net()
        self.optimizer = MAKE[name](self.model.parameters())
        self.to_none = to_none

    def batch(self, s: int) -> Tensor:
        return torch.arange(4) * 5 % 30 + s % 5

    def backward(self, s: int, scale: float = 1.0) -> Tensor:
        index = self.batch(s)
        (scale * cross_entropy(self.model(X[index]), Y[index])).backward()
        return index

    def update(self, run: explaind.recording.Recorder, s: int) -> None:
        self.optimizer.zero_grad(set_to_none=self.to_none)
        run.batch(self.backward(s))
        self.optimizer.step()

    def explained(self, path: Path, **options: Any) -> Any:
        options = {"keep": ("train", "test"), "train": (X, Y), "test": X[:3], **options}
        return explaind.influence(path, self.model, cross_entropy, **options)


@contextmanager
def silent() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def exact(loop: Loop, path: Path) -> None:
    """Everything is answered, and rests on rebuilt updates."""
    for keep in (("train", "test"), ("layer", "test")):
        found = loop.explained(path, keep=keep)
        assert found.attrs["replay_failed"] == 0
        assert found.attrs["replay_worst"] < 1e-10
        assert float(abs(found.replay).max()) < 1e-8


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("to_none", [True, False])
def test_a_guard_that_skips_steps_leaves_its_batches_out(tmp_path: Path, name: str, to_none: bool) -> None:
    loop = Loop(name, to_none=to_none)
    with silent(), explaind.record(tmp_path / "run.zarr", loop.model, loop.optimizer) as run:
        for s in range(8):
            if s in (0, 3, 4):  # announced, but never used
                loop.optimizer.zero_grad(set_to_none=to_none)
                run.batch(loop.backward(s))
                continue
            loop.update(run, s)
    assert explaind.Trajectory(tmp_path / "run.zarr").manifest["batches_without_update"] == 3
    exact(loop, tmp_path / "run.zarr")


def test_a_guard_and_batches_announced_before_backward(tmp_path: Path) -> None:
    loop = Loop()
    with silent(), explaind.record(tmp_path / "run.zarr", loop.model, loop.optimizer) as run:
        for s in range(6):
            loop.optimizer.zero_grad()
            for part in (2 * s, 2 * s + 1):  # two micro-batches
                run.batch(loop.batch(part))
                loop.backward(part)
            if s != 2:
                loop.optimizer.step()
    exact(loop, tmp_path / "run.zarr")


@pytest.mark.parametrize("fused", [False, True])
def test_a_gradient_scaler_that_skips_an_overflow(tmp_path: Path, fused: bool) -> None:
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3)
    with silent(), explaind.record(tmp_path / "run.zarr", model, optimizer) as run:
        for s in range(9):
            index = torch.arange(4) + s
            optimizer.zero_grad()
            loss = cross_entropy(model(X[index]), Y[index]) * (float("inf") if s in (0, 4) else 1.0)
            run.batch(index, scaler.get_scale())
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
    assert explaind.Trajectory(tmp_path / "run.zarr").n_steps == 7
    options = {"train": (X, Y), "test": X[:3], "keep": ("train", "test")}
    found = explaind.influence(tmp_path / "run.zarr", model, cross_entropy, **options)
    assert found.attrs["replay_worst"] < 1e-10


def test_a_fused_optimizer_that_unscales_by_itself_is_refused(tmp_path: Path) -> None:
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    scaler = torch.amp.GradScaler("cpu")
    with (
        pytest.raises(RecordingError, match="unscale_"),
        explaind.record(tmp_path / "run.zarr", model, optimizer) as run,
    ):
        scaler.scale(cross_entropy(model(X), Y)).backward()
        run.batch(range(30), scaler.get_scale())
        scaler.step(optimizer)


def test_batches_left_at_the_end_are_said(tmp_path: Path) -> None:
    loop = Loop()
    with (
        pytest.warns(RecordingWarning, match="2 announced batches entered no update"),
        explaind.record(tmp_path / "run.zarr", loop.model, loop.optimizer) as run,
    ):
        for s in range(4):
            loop.update(run, s)
        loop.optimizer.zero_grad()
        run.batch(loop.backward(1))
        run.batch(loop.backward(2))
    exact(loop, tmp_path / "run.zarr")


def test_gradients_that_are_not_reset(tmp_path: Path) -> None:
    loop = Loop()
    with (
        pytest.raises(RecordingError, match="update 2 contain those of the update before"),
        explaind.record(tmp_path / "run.zarr", loop.model, loop.optimizer) as run,
    ):
        loop.update(run, 0)
        loop.update(run, 1)
        run.batch(loop.backward(2))
        loop.optimizer.step()


def test_an_optimizer_made_again_inside_the_block(tmp_path: Path) -> None:
    loop = Loop()
    with (
        pytest.raises(RecordingError, match="not by the optimizer that is recorded"),
        explaind.record(tmp_path / "run.zarr", loop.model, loop.optimizer) as run,
    ):
        for s in range(30):
            if s == 10:
                loop.optimizer = MAKE["adamw"](loop.model.parameters())
            loop.update(run, s)
    trajectory = explaind.Trajectory(tmp_path / "run.zarr")
    assert not trajectory.complete
    assert trajectory.n_steps == 10
    assert loop.explained(tmp_path / "run.zarr").attrs["complete"] == 0


@pytest.mark.parametrize("updates", [1, 6])
def test_another_optimizer_than_the_recorded_one(tmp_path: Path, updates: int) -> None:
    loop = Loop()
    with (
        pytest.raises(RecordingError, match="not by the optimizer|No update was recorded"),
        explaind.record(tmp_path / "run.zarr", loop.model, MAKE["adamw"](loop.model.parameters())) as run,
    ):
        for s in range(updates):
            loop.update(run, s)
    with pytest.raises(StoreError):
        explaind.Trajectory(tmp_path / "run.zarr")


@pytest.mark.parametrize("steps", [0, 3])
def test_parameters_changed_before_the_block_ends(tmp_path: Path, steps: int) -> None:
    loop = Loop()
    with (
        pytest.raises(RecordingError, match="not where the"),
        explaind.record(tmp_path / "run.zarr", loop.model, loop.optimizer) as run,
    ):
        for s in range(steps):
            loop.update(run, s)
        with torch.no_grad():
            loop.model[0].weight.mul_(0.9)


def test_a_block_without_updates_passes_nothing(tmp_path: Path) -> None:
    loop = Loop()
    with explaind.record(tmp_path / "run.zarr", loop.model, loop.optimizer):
        pass
    assert not explaind.verify(tmp_path / "run.zarr", loop.model, cross_entropy, train=(X, Y)).attrs["passed"]


def _zero(optimizer: torch.optim.Optimizer) -> None:
    for state in optimizer.state.values():
        (state.get("momentum_buffer", state.get("exp_avg"))).data.zero_()


def _double(optimizer: torch.optim.Optimizer) -> None:
    state = next(iter(optimizer.state.values()))
    state.update({name: 2 * value for name, value in state.items() if name != "step"})


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("edit", [_zero, _double])
def test_a_reset_of_the_momentum(tmp_path: Path, name: str, edit: Callable) -> None:
    loop = Loop(name)
    with (
        pytest.raises(RecordingError, match="state was changed before update 4"),
        explaind.record(tmp_path / "run.zarr", loop.model, loop.optimizer) as run,
    ):
        for s in range(8):
            if s == 4:
                edit(loop.optimizer)
            loop.update(run, s)


def test_an_option_changed_inside_the_step(tmp_path: Path) -> None:
    loop = Loop("sgd")

    def later(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        optimizer.param_groups[0]["lr"] = 0.01

    with (
        pytest.raises(RecordingError, match="changed while it made its update"),
        explaind.record(tmp_path / "run.zarr", loop.model, loop.optimizer) as run,
    ):
        loop.optimizer.register_step_pre_hook(later)
        loop.update(run, 0)


def test_step_none_and_gradients_set_by_hand(tmp_path: Path) -> None:
    loop = Loop()
    with silent(), explaind.record(tmp_path / "run.zarr", loop.model, loop.optimizer) as run:
        for s in range(4):
            index = loop.batch(s)
            loss = cross_entropy(loop.model(X[index]), Y[index])
            found = torch.autograd.grad(loss, list(loop.model.parameters()))
            for parameter, gradient in zip(loop.model.parameters(), found, strict=True):
                parameter.grad = gradient
            run.batch(index)
            loop.optimizer.step(None)
    exact(loop, tmp_path / "run.zarr")


@pytest.mark.parametrize("name", MAKE)
def test_clipping_per_module_has_a_factor_per_tensor(tmp_path: Path, name: str) -> None:
    loop = Loop(name)
    with silent(), explaind.record(tmp_path / "run.zarr", loop.model, loop.optimizer) as run:
        for s in range(6):
            loop.optimizer.zero_grad()
            run.batch(loop.backward(s))
            for layer in (loop.model[0], loop.model[2]):
                nn.utils.clip_grad_norm_(layer.parameters(), 0.05)
            loop.optimizer.step()
    assert not explaind.Trajectory(tmp_path / "run.zarr").step(3).clip_uniform
    exact(loop, tmp_path / "run.zarr")


@pytest.mark.parametrize("name", MAKE)
def test_clipping_by_value(tmp_path: Path, name: str) -> None:
    loop = Loop(name)
    path = tmp_path / "run.zarr"
    with silent(), explaind.record(path, loop.model, loop.optimizer) as run:
        for s in range(6):
            loop.optimizer.zero_grad()
            run.batch(loop.backward(s))
            nn.utils.clip_grad_value_(loop.model.parameters(), 0.03)
            loop.optimizer.step()
    for samples in ((X, Y), None):
        found = loop.explained(path, keep=("layer", "test"), train=samples)
        assert found.attrs["replay_failed"] == 0
    exact(loop, path)


@pytest.mark.parametrize("name", MAKE)
def test_a_wrong_batch_anywhere_is_refused_by_name(tmp_path: Path, name: str) -> None:
    loop, path = Loop(name), tmp_path / "run.zarr"
    with explaind.record(path, loop.model, loop.optimizer) as run:
        for s in range(24):
            loop.optimizer.zero_grad()
            index = loop.backward(s)
            run.batch(loop.batch(s + 1) if s == 13 else index)
            loop.optimizer.step()
    assert not explaind.verify(path, loop.model, cross_entropy, train=(X, Y)).attrs["passed"]
    with pytest.raises(LedgerError, match=r"Update 13 cannot be rebuilt.*fits the batch of update 8 instead"):
        loop.explained(path)
    with pytest.raises(LedgerError, match="Update 13"):
        loop.explained(path, keep=("step",), importance=("test", "output"))
    assert loop.explained(path, steps=slice(0, 13)).attrs["replay_failed"] == 0
    for keep, importance in ((("train", "test"), ()), (("train",), ("test", "output"))):
        with pytest.warns(ReplayWarning, match="1 updates do not follow|updates do not follow"):
            found = loop.explained(path, keep=keep, importance=importance, replay="warn")
        assert found.attrs["replay_failed"] >= 1
        assert float(abs(found.replay).max()) > 1e-5
        assert "replay_bound" in found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda loop, loss: 3 * loss, "multiplied by 3"),
        (
            lambda loop, loss: loss + 0.05 * sum((p**2).sum() for p in loop.model.parameters()),
            "penalty on the parameters, 0.1 θ",
        ),
    ],
)
def test_the_refusal_says_what_it_looks_like(tmp_path: Path, change: Callable, words: str) -> None:
    loop, path = Loop("sgd"), tmp_path / "run.zarr"
    with explaind.record(path, loop.model, loop.optimizer) as run:
        for s in range(4):
            loop.optimizer.zero_grad()
            index = loop.batch(s)
            change(loop, cross_entropy(loop.model(X[index]), Y[index])).backward()
            run.batch(index)
            loop.optimizer.step()
    with pytest.raises(LedgerError, match=words):
        loop.explained(path)


def test_a_batch_too_many_is_named(tmp_path: Path) -> None:
    loop, path = Loop("sgd"), tmp_path / "run.zarr"
    with explaind.record(path, loop.model, loop.optimizer) as run:
        for s in range(5):
            if s == 2:
                run.batch(loop.batch(9))  # announced, never differentiated
            loop.update(run, s)
    with pytest.raises(LedgerError, match="micro-batch 0 did not enter"):
        loop.explained(path)


def test_noise_in_the_loss_is_named(tmp_path: Path) -> None:
    loop, path = Loop("sgd"), tmp_path / "run.zarr"

    def noisy(outputs: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(outputs + torch.randn_like(outputs), targets)

    with explaind.record(path, loop.model, loop.optimizer) as run:
        for s in range(3):
            loop.optimizer.zero_grad()
            index = loop.batch(s)
            noisy(loop.model(X[index]), Y[index]).backward()
            run.batch(index)
            loop.optimizer.step()
    with pytest.raises(LedgerError, match="random"):
        explaind.influence(path, loop.model, noisy, train=(X, Y), test=X[:3], keep=("train",))


def test_what_was_rebuilt_once_is_remembered_for_just_this_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from explaind.attribution import replay

    loop, path = Loop("sgd"), tmp_path / "run.zarr"
    with explaind.record(path, loop.model, loop.optimizer) as run:
        for s in range(12):
            loop.update(run, s)
    first = loop.explained(path)
    counted: list[int] = []
    plain = replay.rebuild
    monkeypatch.setattr(replay, "rebuild", lambda *a: (counted.append(e.step) or e for e in plain(*a)))
    again = loop.explained(path)
    assert not counted
    assert first.replay_relative.equals(again.replay_relative)
    with pytest.raises(LedgerError, match="Update 0"):
        loop.explained(path, train=(X.flip(0), Y))
    assert counted == [0]
    for mark in (path / "replay").iterdir():
        mark.write_text(mark.read_text().replace('"relative": ', '"relative": 1'))
    counted.clear()
    assert loop.explained(path).replay_relative.equals(first.replay_relative)  # a damaged mark is no mark
    assert len(counted) == 12
