"""Gradients clipped entry by entry: the factor of every entry is observed, and multiplies every sample's gradient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import explaind
from explaind.errors import LedgerError
from tests.attribution.test_pauses import OPTIMIZERS, WHOLE, check, explained
from tests.attribution.tiny import Net, Run, make_data
from tests.situations import EXACT, situation

Clip = Callable[[nn.Module], object]


def by_value(model: nn.Module) -> None:
    nn.utils.clip_grad_value_(model.parameters(), 0.03)


def by_norm(model: nn.Module) -> None:
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)


def value_then_norm(model: nn.Module) -> None:
    by_value(model)
    by_norm(model)


def norm_then_value(model: nn.Module) -> None:
    by_norm(model)
    by_value(model)


def one_layer(model: nn.Module) -> None:
    nn.utils.clip_grad_value_(model.second.parameters(), 0.03)


def everything(model: nn.Module) -> None:
    """A threshold below which nothing stays."""
    nn.utils.clip_grad_value_(model.parameters(), 1e-9)


def clipped_run(
    path: Path,
    clip: Clip,
    name: str = "AdamW",
    steps: int = 6,
    skip: tuple[int, ...] = (1, 4),
    freeze: Callable[[nn.Module, int], object] = lambda model, s: None,
) -> tuple[Run, list[torch.Tensor]]:
    """A run that clips in all updates but some, and every c as an independent computation finds it, [D]."""
    torch.manual_seed(0)
    model, (data, test) = Net().double(), make_data()
    optimizer, factors = OPTIMIZERS[name](model), []
    with explaind.record(path, model, optimizer, chunk_steps=2) as run:
        for s in range(steps):
            freeze(model, s)
            optimizer.zero_grad()
            F.cross_entropy(model(data[0]), data[1]).backward()
            run.batch(range(7))
            raw = [torch.ones_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]
            if s not in skip:
                clip(model)
            now = [torch.ones_like(p) if p.grad is None else p.grad for p in model.parameters()]
            factors.append(torch.cat([(n / r).flatten() for n, r in zip(now, raw, strict=True)]))
            optimizer.step()
    return Run(path, model, F.cross_entropy, data, test, WHOLE[:steps]), factors


@situation("The loop", "clipping entry by entry", EXACT)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_by_value(tmp_path: Path, name: str) -> None:
    run, factors = clipped_run(tmp_path / "run.zarr", by_value, name)
    for s, found in enumerate(factors):
        entries = run.trajectory.clip_entries(s)
        assert (entries is None) == (s in (1, 4))
        if entries is not None:
            assert len(entries.unique()) > 2
            torch.testing.assert_close(entries, found, rtol=1e-12, atol=0)
    check(run)


@situation("The loop", "clipping entry by entry and by norm", EXACT)
@pytest.mark.parametrize("clip", [value_then_norm, norm_then_value, one_layer, everything])
@pytest.mark.parametrize("name", ["AdamW", "SGD"])
def test_combined(tmp_path: Path, clip: Clip, name: str) -> None:
    run, factors = clipped_run(tmp_path / "run.zarr", clip, name)
    torch.testing.assert_close(run.trajectory.clip_entries(2), factors[2], rtol=1e-12, atol=0)
    check(run)


def test_beside_a_frozen_layer(tmp_path: Path) -> None:
    run, _ = clipped_run(
        tmp_path / "run.zarr", by_value, freeze=lambda model, s: model.first.requires_grad_(s not in (2, 3))
    )
    check(run)


def test_only_tensors_that_were_cut_are_stored(tmp_path: Path) -> None:
    run, _ = clipped_run(tmp_path / "run.zarr", one_layer)
    assert [commit.cut for commit in run.trajectory._chunks] == [[[2, 3], []], [[2, 3], [2, 3]], [[], [2, 3]]]
    plain, _ = clipped_run(tmp_path / "plain.zarr", by_norm)
    assert all(commit.cut == [] for commit in plain.trajectory._chunks)
    assert all(plain.trajectory.clip_entries(s) is None for s in range(6))


def noisy(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.grad += 0.01 * torch.randn_like(parameter)


def shrunk(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.grad += 0.1 * parameter.detach()


@pytest.mark.parametrize("change", [noisy, shrunk])
def test_other_changes_of_entries_are_no_clipping(tmp_path: Path, change: Clip) -> None:
    run, _ = clipped_run(tmp_path / "run.zarr", change)
    assert all(run.trajectory.clip_entries(s) is None for s in range(6))
    with pytest.raises(LedgerError, match="Update 0 cannot be rebuilt"):
        explained(run, ("train", "test"))
