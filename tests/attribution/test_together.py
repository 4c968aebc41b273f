"""Several optimizers of one model: each steps once for each update, of parameters of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import explaind
from explaind.errors import RecordingError
from tests.attribution.test_pauses import WHOLE, check
from tests.attribution.tiny import Net, Run, make_data
from tests.situations import EXACT, refused, situation

Make = Callable[[Iterable[torch.Tensor]], torch.optim.Optimizer]

ADAMW: Make = lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.3)  # noqa: E731
ADAM: Make = lambda p: torch.optim.Adam(p, lr=0.02, weight_decay=0.3)  # noqa: E731
SGD: Make = lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.3, weight_decay=0.1)  # noqa: E731
PLAIN: Make = lambda p: torch.optim.SGD(p, lr=0.05)  # noqa: E731
PAIRS: dict[str, tuple[Make, Make]] = {
    "AdamW, SGD": (ADAMW, SGD),
    "plain SGD, Adam": (PLAIN, ADAM),
    "SGD, plain SGD": (SGD, PLAIN),
    "AdamW, AdamW": (ADAMW, ADAMW),
}


def fresh() -> Net:
    torch.manual_seed(0)
    return Net().double()


def both(model: Net, pair: str) -> list[torch.optim.Optimizer]:
    first, second = PAIRS[pair]
    return [first(model.first.parameters()), second(model.second.parameters())]


def trained(
    path: Path,
    model: Net,
    optimizers: list[torch.optim.Optimizer],
    step: Callable[[list[torch.optim.Optimizer], int], None] | None = None,
    clip: bool = True,
    **options: Any,
) -> Run:
    data, test = make_data()
    with explaind.record(path, model, optimizers, chunk_steps=2, **options) as run:
        for s in range(run.step, 6):
            for one in optimizers:
                one.zero_grad()
            F.cross_entropy(model(data[0]), data[1]).backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), 0.3)
            run.batch(range(7))
            if step is not None:
                step(optimizers, s)
                continue
            for one in optimizers if s % 2 else reversed(optimizers):
                one.step()
    return Run(path, model, F.cross_entropy, data, test, WHOLE)


@situation("Optimizers", "several on one model, each of its own parameters (AdamW, Adam, SGD)", EXACT)
@pytest.mark.parametrize("pair", PAIRS)
def test_two_optimizers(tmp_path: Path, pair: str) -> None:
    model = fresh()
    run = trained(tmp_path / "run.zarr", model, both(model, pair))
    assert run.trajectory.n_steps == 6
    check(run)
    plain = fresh()
    optimizers, data = both(plain, pair), make_data()[0]
    for _ in range(6):
        plain.zero_grad()
        F.cross_entropy(plain(data[0]), data[1]).backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 0.3)
        for one in optimizers:
            one.step()
    for a, b in zip(plain.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_with_a_history_frozen_layers_and_an_emptied_state(tmp_path: Path) -> None:
    model = fresh()
    optimizers = both(model, "AdamW, SGD")
    for s in range(3):
        model.zero_grad()
        F.cross_entropy(model(torch.randn(4, 3).double()), torch.arange(4) % 3).backward()
        for one in optimizers[: 1 + (s > 0)]:
            one.step()

    def step(optimizers: list[torch.optim.Optimizer], s: int) -> None:
        if s == 3:
            model.first.weight.grad = None
        if s == 4:
            optimizers[1].state.clear()
        for one in optimizers:
            one.step()

    check(trained(tmp_path / "run.zarr", model, optimizers, step))


def test_it_is_resumed(tmp_path: Path) -> None:
    def step(optimizers: list[torch.optim.Optimizer], s: int) -> None:
        if s == 5:
            raise KeyboardInterrupt
        for one in optimizers:
            one.step()

    model = fresh()
    whole = trained(tmp_path / "whole.zarr", model, both(model, "AdamW, SGD")).trajectory
    model, path = fresh(), tmp_path / "run.zarr"
    with pytest.raises(KeyboardInterrupt):
        trained(path, model, both(model, "AdamW, SGD"), step)
    model = Net().double()
    again = trained(path, model, both(model, "AdamW, SGD"), resume=True).trajectory
    for s in range(7):
        assert torch.equal(whole.parameters(s), again.parameters(s))
    assert again.step(5).counts == whole.step(5).counts


def _twice(optimizers: list[torch.optim.Optimizer], s: int) -> None:
    optimizers[0].step()
    optimizers[0].step()


def _one_only(optimizers: list[torch.optim.Optimizer], s: int) -> None:
    optimizers[s % 2].step() if s < 2 else optimizers[0].step()


def _clipped_between(optimizers: list[torch.optim.Optimizer], s: int) -> None:
    optimizers[0].step()
    nn.utils.clip_grad_norm_(optimizers[1].param_groups[0]["params"], 0.01)
    optimizers[1].step()


@situation(
    "Optimizers",
    "several that step in turn, or with a backward pass or clipping in between",
    refused("each steps once for each update, with the same gradients"),
)
@pytest.mark.parametrize(
    ("step", "words"),
    [
        (_twice, "second step in update 0"),
        (_one_only, "Gradients changed between the steps of two optimizers in update 0|second step"),
        (_clipped_between, "Gradients changed between the steps of two optimizers in update 0"),
    ],
)
def test_other_orders_are_refused(tmp_path: Path, step: Callable, words: str) -> None:
    model = fresh()
    with pytest.raises(RecordingError, match=words):
        trained(tmp_path / "run.zarr", model, both(model, "AdamW, SGD"), step, clip=False)


@situation(
    "Optimizers",
    "several, others than AdamW, Adam and SGD among them",
    refused("their counters are read of all tensors together"),
)
def test_what_cannot_be_together(tmp_path: Path) -> None:
    model = fresh()
    for optimizers, words in (
        ([ADAMW(model.first.parameters()), torch.optim.RMSprop(model.second.parameters())], "RMSprop cannot"),
        ([ADAMW(model.parameters()), SGD(model.second.parameters())], "in several optimizers"),
        ([], "No optimizer was given"),
    ):
        with pytest.raises(RecordingError, match=words):
            explaind.record(tmp_path / "run.zarr", model, optimizers)
    with pytest.raises(RecordingError, match="join one of several optimizers later"):
        explaind.record(
            tmp_path / "run.zarr",
            model,
            [ADAMW([model.first.weight]), SGD(model.second.parameters())],
            later="first.bias",
        )
