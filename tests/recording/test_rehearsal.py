"""What will not be explainable is said after two updates, not after training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recorded_runs import INPUTS, TARGETS, flat, mlp
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

import explaind
from explaind.errors import RecordingError, RecordingWarning


class Routed(nn.Module):
    """Rows with a positive entry take another way: no gradient of single samples under vmap."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        found = self.one(x)
        chosen = torch.nonzero(x[:, 0] > 0).squeeze(1)
        return found.index_add(0, chosen, self.two(x[chosen]))


def train(
    path: Path,
    model: nn.Module,
    *,
    loss: Callable = cross_entropy,
    chunk_steps: int = 16,
    seen: list[int] | None = None,
    **options: Any,
) -> nn.Module:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    with explaind.record(path, model, optimizer, chunk_steps=chunk_steps, **options) as run:
        for s in range(5):
            optimizer.zero_grad()
            index = torch.randint(40, (8,))
            loss(model(INPUTS[index]), TARGETS[index]).backward()
            run.batch(index)
            optimizer.step()
            if seen is not None:
                seen.append(s)
    return model


@pytest.mark.parametrize("chunk_steps", [1, 2, 16])
def test_a_sound_run_is_rehearsed_in_silence_and_not_changed(tmp_path: Path, chunk_steps: int) -> None:
    torch.manual_seed(5)
    plain = flat(train(tmp_path / "plain.zarr", mlp(), chunk_steps=chunk_steps))
    torch.manual_seed(5)
    model = train(
        tmp_path / "run.zarr", mlp(), chunk_steps=chunk_steps, loss_fn=cross_entropy, train=(INPUTS, TARGETS)
    )
    assert torch.equal(flat(model), plain)
    found = explaind.rehearse(tmp_path / "run.zarr", model, cross_entropy, train=(INPUTS, TARGETS))
    assert found.passed
    assert set(found.modes.values()) == {None}
    assert "works" in str(found)


def test_another_loss_is_refused_after_two_updates(tmp_path: Path) -> None:
    seen: list[int] = []

    def other(outputs: Tensor, targets: Tensor) -> Tensor:
        return mse_loss(outputs, nn.functional.one_hot(targets, 3).to(outputs))

    with pytest.raises(RecordingError, match="first updates cannot be explained"):
        train(tmp_path / "run.zarr", mlp(), seen=seen, loss_fn=other, train=(INPUTS, TARGETS))
    assert seen == [0]


def test_what_cannot_be_differentiated_is_said(tmp_path: Path) -> None:
    with pytest.warns(RecordingWarning, match="Not everything will be explainable"):
        model = train(tmp_path / "run.zarr", Routed(), loss_fn=cross_entropy, train=(INPUTS, TARGETS))
    found = explaind.rehearse(tmp_path / "run.zarr", model, cross_entropy, train=(INPUTS, TARGETS))
    assert found.replay is None
    assert not found.passed
    assert explaind.Trajectory(tmp_path / "run.zarr").complete
