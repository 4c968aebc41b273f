"""A model whose samples mix, or that rolls dice, is refused before anything is attributed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import explaind
from explaind.errors import QueryError

TOKENS = torch.randint(0, 5, (10, 4), generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(10) % 2


class Net(nn.Module):
    """Token means through two layers, with a place where samples may mix."""

    def __init__(self, mix: str, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mix = mix
        self.embed = nn.Embedding(5, 4, scale_grad_by_freq=mix == "frequency")
        self.out = nn.Linear(4, 2)
        self.gate = nn.Parameter(torch.zeros(()))
        self.to(dtype)

    def forward(self, tokens: Tensor) -> Tensor:
        h = torch.tanh(self.embed(tokens).sum(1))
        if self.mix == "mean":
            h = h - 0.5 * h.mean(0)
        if self.mix == "gated":  # nothing mixes before training moved the gate
            h = h + (0.1 + self.gate) * 0 + self.gate * h.mean(0)
        if self.mix == "statistics":
            h = (h - h.mean(0)) / (h.std(0, unbiased=False) + 1)
        if self.mix == "attention":
            h = h + torch.softmax(h @ h.T, dim=1) @ h
        if self.mix == "noise":
            h = h + 0.01 * torch.randn_like(h)
        if self.mix == "dropout":
            h = F.dropout(h, 0.2, training=True)
        if self.mix == "straight":
            h = h + (torch.round(h) - h).detach()
        return self.out(h)


def trained(path: Path, mix: str, dtype: torch.dtype) -> nn.Module:
    model = Net(mix, dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    with explaind.record(path, model, optimizer) as run:
        for s in range(4):
            index = torch.tensor([s, s + 2, s + 3])
            optimizer.zero_grad()
            F.cross_entropy(model(TOKENS[index]), LABELS[index]).backward()
            if model.gate.grad is None:
                model.gate.grad = torch.zeros_like(model.gate)
            run.batch(index)
            optimizer.step()
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tests", [1, 2, 10])
@pytest.mark.parametrize("mix", ["mean", "gated", "statistics", "attention", "noise", "dropout", "frequency"])
def test_mixing_is_refused(tmp_path: Path, mix: str, tests: int, dtype: torch.dtype) -> None:
    model = trained(tmp_path / "run.zarr", mix, dtype)
    for options in ({}, {"train": (TOKENS, LABELS), "keep": ("train", "test")}):
        with pytest.raises(QueryError, match="depend|change from call to call"):
            explaind.influence(tmp_path / "run.zarr", model, F.cross_entropy, test=TOKENS[:tests], **options)


def test_a_backward_pass_that_is_no_derivative(tmp_path: Path) -> None:
    model = trained(tmp_path / "run.zarr", "straight", torch.float64)
    with pytest.warns(
        UserWarning
    ) as said:  # detach is a constant to both modes; rounding makes jumps, which quadrature shows
        explaind.influence(tmp_path / "run.zarr", model, F.cross_entropy, test=TOKENS[:2])
    assert any("quadrature" in str(one.message) for one in said)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_honest_model_gives_each_sample_the_same_answer_in_any_company(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    model = trained(tmp_path / "run.zarr", "", dtype)
    options: dict[str, Any] = {"train": (TOKENS, LABELS), "keep": ("train", "test", "output")}
    many, few = (
        explaind.influence(tmp_path / "run.zarr", model, F.cross_entropy, test=TOKENS[:n], **options)
        for n in (10, 3)
    )
    difference = abs(many.kernel[:, :3].values - few.kernel.values).max()
    assert difference <= (1e-5 if dtype == torch.float32 else 1e-12)
