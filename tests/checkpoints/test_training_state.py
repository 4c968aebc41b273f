"""A training run's present state reads like a checkpoint of the same moment."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from explaind.checkpoints import TrainingState
from explaind.errors import StoreError


def _run(updates: int, **options: object) -> tuple[nn.Module, torch.optim.AdamW]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    vectors = [p for p in model.parameters() if p.dim() < 2]
    matrices = [p for p in model.parameters() if p.dim() == 2]
    groups = [{"params": matrices, "weight_decay": 0.2}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.95), **options)
    for _ in range(updates):
        optimizer.zero_grad()
        model(torch.randn(5, 3, dtype=torch.float64)).square().mean().backward()
        optimizer.step()
    return model, optimizer


def test_it_holds_what_the_next_update_needs() -> None:
    model, optimizer = _run(3)
    state = TrainingState(model, optimizer, clip_norm=0.5)
    options = state.hyperparameters
    assert (options.step, options.lr, options.betas, options.clip_norm) == (3, 0.01, (0.8, 0.95), 0.5)
    assert options.decay("0.weight") == 0.2 and options.decay("0.bias") == 0.0
    assert state.names() == tuple(name for name, _ in model.named_parameters())
    for name, parameter in model.named_parameters():
        assert state.shape(name) == tuple(parameter.shape)
        moments = optimizer.state[parameter]
        for read, there in (
            (state.weight, parameter),
            (state.exp_avg, moments["exp_avg"]),
            (state.exp_avg_sq, moments["exp_avg_sq"]),
        ):
            copy = read(name)
            assert torch.equal(copy, there) and copy.data_ptr() != there.data_ptr()


def test_before_the_first_update_there_are_no_moments() -> None:
    model, optimizer = _run(0)
    state = TrainingState(model, optimizer)
    assert state.hyperparameters.step == 0 and state.hyperparameters.clip_norm is None
    assert float(state.exp_avg("0.weight").abs().sum() + state.exp_avg_sq("0.weight").abs().sum()) == 0


def test_weights_reach_another_model() -> None:
    model, optimizer = _run(2)
    other, _ = _run(0)
    TrainingState(model, optimizer).load_weights(other)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_what_cannot_be_explained_is_refused() -> None:
    model, optimizer = _run(1)
    with pytest.raises(StoreError, match="AdamW over exactly the model's parameters"):
        TrainingState(model, torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(StoreError, match="AdamW over 2 of 4 parameters"):
        TrainingState(model, torch.optim.AdamW(model[0].parameters()))
    with pytest.raises(StoreError, match="amsgrad"):
        TrainingState(*_run(1, amsgrad=True))
    optimizer.state[model[0].weight]["step"] += 1
    with pytest.raises(StoreError, match="not all trained in every update"):
        TrainingState(model, optimizer)
