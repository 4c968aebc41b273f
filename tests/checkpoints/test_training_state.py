"""A training run's present state reads like a checkpoint of the same moment."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from explaind.checkpoints import Options, TrainingState
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


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, updates: int) -> None:
    for _ in range(updates):
        optimizer.zero_grad()
        model(torch.randn(5, 3, dtype=torch.float64)).square().mean().backward()
        optimizer.step()


def test_everything_is_of_the_moment_of_asking() -> None:
    model, optimizer = _run(1)
    state = TrainingState(model, optimizer)
    _train(model, optimizer, 2)
    optimizer.param_groups[0]["lr"] = 0.5
    assert state.hyperparameters.step == 3
    assert state.hyperparameters.of("0.weight").lr == 0.5 and state.hyperparameters.of("0.bias").lr == 0.01
    assert torch.equal(state.exp_avg("0.weight"), optimizer.state[model[0].weight]["exp_avg"])


def test_sgd_and_its_buffer() -> None:
    model = _network()
    optimizer = torch.optim.SGD(
        [
            {
                "params": model[0].parameters(),
                "lr": 0.1,
                "momentum": 0.9,
                "dampening": 0.2,
                "weight_decay": 0.3,
            },
            {"params": model[2].parameters(), "lr": torch.tensor(0.5, dtype=torch.float64), "momentum": 0.0},
        ]
    )
    state = TrainingState(model, optimizer, clip_norm=2.0)
    fresh = Options("SGD", 0, 0.1, 0.3, momentum=0.9, dampening=0.2)
    assert state.hyperparameters.of("0.weight") == fresh and float(state.exp_avg("0.weight").abs().sum()) == 0
    _train(model, optimizer, 2)
    found = state.hyperparameters
    assert found.of("0.weight") == replace(fresh, step=1) and found.of("2.bias") == Options("SGD", 0, 0.5)
    assert (found.step, found.lr, found.clip_norm, found.optimizer) == (None, (0.1, 0.5), 2.0, "SGD")
    assert torch.equal(state.exp_avg("0.bias"), optimizer.state[model[0].bias]["momentum_buffer"])


def test_adam_and_what_was_frozen_for_a_time() -> None:
    model = _network()
    optimizer = torch.optim.Adam(model.parameters(), weight_decay=0.1)
    model[0].requires_grad_(False)
    _train(model, optimizer, 2)
    state = TrainingState(model, optimizer)
    model[0].requires_grad_(True)
    _train(model, optimizer, 1)
    steps = {name: state.hyperparameters.of(name).step for name in state.names()}
    assert steps == {"0.weight": 1, "0.bias": 1, "2.weight": 3, "2.bias": 3}
    assert {state.hyperparameters.of(name).optimizer for name in state.names()} == {"Adam"}


def test_frozen_parameters_may_be_left_out() -> None:
    model = _network()
    optimizer = torch.optim.AdamW(model[2].parameters())
    with pytest.raises(StoreError, match="AdamW over 2 of 4 parameters"):
        TrainingState(model, optimizer)
    model[0].requires_grad_(False)
    found = TrainingState(model, optimizer).hyperparameters
    assert found.of("0.weight") is None and found.of("2.weight").optimizer == "AdamW"


def test_another_model_must_be_of_the_same_shape_and_as_frozen() -> None:
    model, optimizer = _run(1)
    state = TrainingState(model, optimizer)
    other = _network()
    before = [p.clone() for p in other.parameters()]
    other[0].requires_grad_(False)
    with pytest.raises(StoreError, match="differs from that of the training run in what is frozen"):
        state.load_weights(other)
    for wrong in (nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)), nn.Linear(3, 4)):
        with pytest.raises(StoreError, match="does not fit the model"):
            state.load_weights(wrong)
    assert all(torch.equal(p, b) for p, b in zip(other.parameters(), before, strict=True))


def test_what_cannot_be_explained_is_refused() -> None:
    model, optimizer = _run(1)
    with pytest.raises(StoreError, match="amsgrad"):
        TrainingState(*_run(1, amsgrad=True))
    with pytest.raises(StoreError, match="maximize"):
        TrainingState(model, torch.optim.SGD(model.parameters(), lr=0.1, maximize=True))

    class Own(torch.optim.AdamW):
        """Whose step may be any."""

    for other in (torch.optim.RMSprop, torch.optim.NAdam, torch.optim.RAdam, Own):
        with pytest.raises(StoreError, match=f"Got: {other.__name__} over 4 of 4 parameters"):
            TrainingState(model, other(model.parameters()))
    with pytest.raises(StoreError, match="4 of 4 parameters and 1 others"):
        TrainingState(model, torch.optim.AdamW([*model.parameters(), nn.Parameter(torch.zeros(2))]))
    with pytest.raises(StoreError, match="clip_norm has no meaning"):
        TrainingState(model, optimizer, clip_norm=-1.0)
    model[0].weight.requires_grad_(False)
    with pytest.raises(StoreError, match="0.weight requires no gradient but still has one"):
        TrainingState(model, optimizer)
    optimizer.zero_grad()
    assert TrainingState(model, optimizer).hyperparameters.step == 1
