"""Faults that were once answered wrongly without a word, each as its user would meet it."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

import explaind
from explaind.errors import ExplaindError, QuadratureWarning

LOSS = nn.CrossEntropyLoss()
TRAIN = (
    torch.randn(60, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64),
    torch.randint(3, (60,), generator=torch.Generator().manual_seed(1)),
)
TEST = (
    torch.randn(10, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64),
    torch.randint(3, (10,), generator=torch.Generator().manual_seed(3)),
)
BATCHES = torch.arange(60).view(30, 2)


class Net(nn.Module):
    """A perceptron; `change` sees the hidden activations."""

    def __init__(self, change: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.hidden, self.readout = nn.Linear(3, 5), nn.Linear(5, 3)
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.hidden(x))
        return self.readout(h if self.change is None else self.change(self, x, h))


def make(
    optimizer: Callable[[Any], Optimizer] = lambda p: AdamW(p, lr=0.02), model: nn.Module | None = None
) -> tuple[nn.Module, Optimizer]:
    torch.manual_seed(0)
    model = (Net() if model is None else model).double()
    for p in model.parameters():
        nn.init.normal_(p, std=0.4)
    return model, optimizer(model.parameters())


def backward(
    model: nn.Module,
    optimizer: Optimizer,
    batch: Tensor,
    scaled: Callable[[Tensor], Tensor] = lambda loss: loss,
) -> None:
    optimizer.zero_grad()
    scaled(LOSS(model(TRAIN[0][batch]), TRAIN[1][batch])).backward()


def scores(path: Path, model: nn.Module, **options: Any) -> xr.Dataset:
    options = {"keep": ("train", "test"), "target": "margin", "test": TEST, **options}
    return explaind.influence(path, model, LOSS, train=TRAIN, max_nodes=27, **options)


def train_plainly(path: Path, model: nn.Module, optimizer: Optimizer, updates: int = 20) -> None:
    with explaind.record(path, model, optimizer) as run:
        for s in range(updates):
            backward(model, optimizer, BATCHES[s % 30])
            run.batch(BATCHES[s % 30])
            optimizer.step()


# 1. Every update is checked, not a few.


def wrong_batches(path: Path) -> nn.Module:
    model, optimizer = make()
    with explaind.record(path, model, optimizer) as run:
        for s in range(60):
            b = s % 30
            backward(model, optimizer, BATCHES[b])
            run.batch(BATCHES[(b + 1) % 30 if 5 <= s <= 25 else b])
            optimizer.step()
    return model


@pytest.mark.parametrize(
    "options",
    [
        {"keep": ("train", "test")},
        {"keep": ("train",), "importance": ("test",)},
        {"keep": ("train", "test"), "steps": slice(30, 40)},
        {"keep": ("step", "test"), "lineage": "sample"},
    ],
    ids=["margin", "importance", "window-after", "credit-by-sample"],
)
def test_wrong_batches_in_some_updates_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ExplaindError):
        scores(tmp_path / "run.zarr", wrong_batches(tmp_path / "run.zarr"), **options)


def test_who_goes_on_is_told_in_the_answer_itself(tmp_path: Path) -> None:
    path = tmp_path / "run.zarr"
    model = wrong_batches(path)
    for options in ({}, {"keep": ("train",), "importance": ("test",)}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it may be said aloud as well
            found = scores(path, model, replay="warn", **options)
        numbers = {**found.data_vars, **found.attrs}
        said = [
            float(np.abs(v).max())
            for name, v in numbers.items()
            if name.startswith("replay") and not isinstance(v, str)
        ]
        assert max(said, default=0.0) > 1e-3


def guarded(path: Path, how: str) -> nn.Module:
    """A run of 40 updates, of which the twelfth is skipped by `how`; "absent": the same training without it."""
    model, optimizer = make()
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=1000, enabled=how == "scaler")
    with explaind.record(path, model, optimizer) as run:
        for s in range(40):
            if how == "absent" and s == 12:
                continue
            batch = BATCHES[s % 30]
            poison = float("inf") if s == 12 else 1.0
            scale = scaler.get_scale()
            backward(model, optimizer, batch, lambda loss, poison=poison: scaler.scale(poison * loss))
            run.batch(batch, scale)
            if how == "guard" and s == 12:
                continue
            scaler.step(optimizer)
            scaler.update()
    return model


@pytest.mark.parametrize("how", ["scaler", "guard"])
def test_a_skipped_update_is_resolved_or_refused(tmp_path: Path, how: str) -> None:
    right = guarded(tmp_path / "right.zarr", "absent")
    options = {"steps": slice(8, 20), "tolerance": 1e-6, "tail_tolerance": 0}
    truth = scores(tmp_path / "right.zarr", right, **options)
    try:
        model = guarded(tmp_path / "run.zarr", how)
        found = scores(tmp_path / "run.zarr", model, **options)
    except (ExplaindError, UserWarning):
        return
    for mine, other in zip(model.parameters(), right.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.kernel, truth.kernel, atol=1e-4)


# 2. Lengths that depend on values are not frozen.


def masked_mean(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
    return torch.stack([a * t[t > 0].sum() / (1 + len(t[t > 0])) for a, t in zip(h, x, strict=True)])


def test_python_lengths_that_depend_on_the_sample(tmp_path: Path) -> None:
    path = tmp_path / "run.zarr"
    model, optimizer = make(model=Net(masked_mean))
    test = torch.randn(12, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    ask = {"keep": ("layer", "test", "output"), "target": "output", "tolerance": 1e-6}
    with warnings.catch_warnings():
        warnings.simplefilter("error", QuadratureWarning)  # the model is smooth: quadrature is not to blame
        try:
            train_plainly(path, model, optimizer, 15)
            together = scores(path, model, test=test, **ask)
        except ExplaindError:
            return
        for i in (0, 7, 11):
            alone = scores(path, model, test=test[i : i + 1], **ask)
            np.testing.assert_allclose(together.kernel.isel(test=[i]), alone.kernel, atol=3e-5)


# 3. A recording is of the whole training, or none.


@pytest.mark.parametrize("when", [0, 15])
def test_an_optimizer_made_again_inside_the_block(tmp_path: Path, when: int) -> None:
    model, optimizer = make()
    path = tmp_path / "run.zarr"
    with pytest.raises(ExplaindError):
        with explaind.record(path, model, optimizer) as run:
            for s in range(30):
                if s == when:
                    optimizer = AdamW(model.parameters(), lr=0.02)
                backward(model, optimizer, BATCHES[s])
                run.batch(BATCHES[s])
                optimizer.step()
        explaind.verify(path, model, LOSS, train=TRAIN)


def test_another_optimizer_object_given_to_the_recorder(tmp_path: Path) -> None:
    model, optimizer = make()
    with pytest.raises(ExplaindError):
        with explaind.record(tmp_path / "run.zarr", model, AdamW(model.parameters(), lr=0.02)) as run:
            for s in range(10):
                backward(model, optimizer, BATCHES[s])
                run.batch(BATCHES[s])
                optimizer.step()
        explaind.verify(tmp_path / "run.zarr", model, LOSS, train=TRAIN)


def test_batches_that_were_announced_and_never_used(tmp_path: Path) -> None:
    model, optimizer = make()
    said = pytest.raises((ExplaindError, UserWarning))  # a warning is enough: no number is wrong
    with said, explaind.record(tmp_path / "run.zarr", model, optimizer) as run:
        for s in range(10):
            backward(model, optimizer, BATCHES[s])
            run.batch(BATCHES[s])
            if s < 9:
                optimizer.step()


@pytest.mark.parametrize(
    "edit", [lambda p: p.mul_(0.9), lambda p: p.clamp_(-0.3, 0.3)], ids=["scaled", "clamped"]
)
def test_parameters_changed_after_the_last_update(tmp_path: Path, edit: Callable[[Tensor], Tensor]) -> None:
    model, optimizer = make()
    with pytest.raises(ExplaindError), explaind.record(tmp_path / "run.zarr", model, optimizer) as run:
        for s in range(10):
            backward(model, optimizer, BATCHES[s])
            run.batch(BATCHES[s])
            optimizer.step()
        with torch.no_grad():
            for p in model.parameters():
                edit(p)


# 4. The optimizer's memory is watched.


def clear(optimizer: Optimizer) -> None:
    optimizer.state.clear()


def zero(optimizer: Optimizer) -> None:
    for state in optimizer.state.values():
        for name in ("momentum_buffer", "exp_avg"):
            if name in state:
                state[name].zero_()


@pytest.mark.parametrize("reset", [clear, zero])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: SGD(p, lr=0.05, momentum=0.9, weight_decay=0.05),
        lambda p: SGD(p, lr=0.05, momentum=0.9, nesterov=True),
        lambda p: AdamW(p, lr=0.02),
    ],
    ids=["sgd", "nesterov", "adamw"],
)
@pytest.mark.parametrize("at", [13, 19])
def test_momentum_that_is_reset(
    tmp_path: Path, optimizer: Callable[[Any], Optimizer], reset: Callable[[Optimizer], None], at: int
) -> None:
    model, made = make(optimizer)
    path = tmp_path / "run.zarr"
    # A state that is emptied is a beginning that the record knows; anything else is refused.
    with contextlib.nullcontext() if reset is clear else pytest.raises(ExplaindError):
        with explaind.record(path, model, made) as run:
            for s in range(40):
                if s == at:
                    reset(made)
                backward(model, made, BATCHES[s % 30])
                run.batch(BATCHES[s % 30])
                made.step()
        found = scores(path, model)
    if reset is clear:
        assert found.attrs["replay_worst"] < 1e-4 and found.attrs["replay_failed"] == 0


# 5. Samples that mix.


def centred(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
    return h - 0.5 * h.mean(0)


class Words(nn.Module):
    """An embedding whose gradient depends on how often a word occurs in the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.readout = nn.Embedding(4, 5, scale_grad_by_freq=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        words = (x[:, :3] > 0).long() + 2 * (x[:, :3] > 1).long() // 2
        return self.readout(torch.tanh(self.embed(words).mean(1)))


@pytest.mark.parametrize("model", [Net(centred), Words()], ids=["centred", "frequency"])
@pytest.mark.parametrize("keep", [("layer", "test"), ("train", "test")], ids=["layers", "samples"])
def test_samples_that_mix_are_refused(tmp_path: Path, model: nn.Module, keep: tuple[str, ...]) -> None:
    path = tmp_path / "run.zarr"
    with pytest.raises(ExplaindError):
        model, optimizer = make(model=copy.deepcopy(model))
        train_plainly(path, model, optimizer, 10)
        scores(path, model, keep=keep, target="output")


# 6. explain_update.


def losses(model: nn.Module, samples: Tensor) -> Tensor:
    return F.cross_entropy(model(samples[:, :3]), samples[:, 3].long(), reduction="none")


SAMPLES = torch.cat([TRAIN[0], TRAIN[1][:, None]], dim=1)


def explained(model: nn.Module, optimizer: Optimizer) -> xr.Dataset:
    state = explaind.TrainingState(model, optimizer)
    return explaind.explain_update(state, model, losses, train=SAMPLES[:20], heldout=SAMPLES[40:])


def test_explain_update_refuses_functional_dropout(tmp_path: Path) -> None:
    model, optimizer = make(model=Net(lambda module, x, h: F.dropout(h, 0.3, training=module.training)))
    with pytest.raises(ExplaindError):
        explained(model.train(), optimizer)


def test_explain_update_leaves_running_buffers_alone() -> None:
    def running(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        with torch.no_grad():
            module.mean.mul_(0.9).add_(0.1 * h.mean(0))
        return h - module.mean

    net = Net(running)
    net.register_buffer("mean", torch.zeros(5))
    model, optimizer = make(model=net)
    before = copy.deepcopy(model.state_dict())
    with contextlib.suppress(ExplaindError):
        explained(model, optimizer)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_explain_update_does_not_decay_what_torch_skips() -> None:
    model, optimizer = make(lambda p: AdamW(p, lr=0.02, weight_decay=0.5))
    model.hidden.requires_grad_(False)
    try:
        found = explained(model, optimizer)
    except ExplaindError:
        return
    with torch.no_grad():
        before = losses(model, SAMPLES[40:]).mean()
    optimizer.zero_grad()
    losses(model, SAMPLES[:20]).mean().backward()
    optimizer.step()
    with torch.no_grad():
        change = losses(model, SAMPLES[40:]).mean() - before
    np.testing.assert_allclose(float(found["change"]), float(change), rtol=1e-6)
    frozen = [str(name).startswith("hidden") for name in found["parameter"].values]
    assert float(abs(found["score"].values[:, frozen]).max(initial=0.0)) == 0.0
