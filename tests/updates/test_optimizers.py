"""Every optimizer's update is torch's own, its terms are the definition's, and what torch skips is skipped."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explaind.checkpoints import TrainingState
from explaind.errors import StoreError
from explaind.reference import updates as reference_updates
from explaind.store import read_dataset, write_dataset
from explaind.updates.cross_influence import Parts, cross_influence
from explaind.updates.explain import batch_update, explain_update
from tests.updates.networks import (
    EXACT,
    HELDOUT,
    OPTIMIZERS,
    TRAIN,
    adam,
    adamw,
    copied,
    losses,
    moments,
    sgd,
    torch_update,
    trained,
)


def moved(model: nn.Module, there: nn.Module) -> dict[str, Tensor]:
    """θ_after − θ_before by name."""
    after = dict(there.named_parameters())
    return {name: (after[name] - p).detach() for name, p in model.named_parameters()}


def check_update(state: TrainingState, model: nn.Module, there: nn.Module) -> None:
    """The sum of the terms is the step that torch took, to 1e-12 of it."""
    update, _ = batch_update(state, model, losses, TRAIN, 3)
    taken = moved(model, there)
    size = torch.cat([u.flatten() for u in taken.values()]).norm()
    for name, u in taken.items():
        if name not in update.start:
            assert torch.equal(u, torch.zeros_like(u)), name
            continue
        terms = update.batch[name] + update.momentum[name] + update.decay[name] * update.start[name]
        assert float((u + terms).norm() / size) < 1e-12, name


def check_scores(state: TrainingState, model: nn.Module) -> None:
    """Scores by tensor and term, and the change, are the definition's."""
    truth = reference_updates.explain(
        model, moments(state), state.hyperparameters, losses, [TRAIN], [HELDOUT], nodes=16
    )
    found = explain_update(state, model, losses, TRAIN, HELDOUT, **EXACT)
    for name in state.names():
        expected = truth.scores[name][:, 0].reshape(3, -1).sum(1)
        got = found["score"].values[:, found["parameter"].values == name][:, 0]
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-14, err_msg=name)
    assert float(found["change"]) == pytest.approx(float(truth.change[0]), rel=1e-12)
    assert abs(float(found["residual"])) < 1e-11


@pytest.mark.parametrize("clip", [None, 0.3])
@pytest.mark.parametrize("updates", [0, 1, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_terms_are_torchs_step_and_the_definitions(name: str, updates: int, clip: float | None) -> None:
    model, optimizer, state = trained(OPTIMIZERS[name], updates, clip)
    there, after = copied(model, optimizer)
    torch_update(there, after, TRAIN, clip)
    check_update(state, model, there)
    check_scores(state, model)


@pytest.mark.parametrize("updates", [0, 2])
@pytest.mark.parametrize("name", ["AdamW", "Adam", "SGD with momentum", "SGD in groups"])
def test_frozen_layers_are_left_alone(name: str, updates: int) -> None:
    """Frozen from now on: momentum and decay that they would have are not applied."""
    model, optimizer, _ = trained(OPTIMIZERS[name], updates)
    optimizer.zero_grad()
    model.second.requires_grad_(False)
    model.scale.requires_grad_(False)
    state = TrainingState(model, optimizer)
    there, after = copied(model, optimizer)
    torch_update(there, after, TRAIN)
    check_update(state, model, there)
    check_scores(state, model)
    found = explain_update(state, model, losses, TRAIN, HELDOUT)
    frozen = {"second.weight", "second.bias", "scale"}
    assert set(found.attrs["skipped"]) == frozen | {"spare"}
    assert not found["score"].values[:, [name in frozen for name in found["parameter"].values]].any()
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == [
        "scale",
        "second.weight",
        "second.bias",
    ]


@pytest.mark.parametrize("make", [adamw, adam, sgd(momentum=0.9, weight_decay=0.1, dampening=0.5)])
def test_layers_that_begin_later_count_from_their_own_first_update(make) -> None:
    model, optimizer, state = trained(make, 0)
    model.second.requires_grad_(False)
    for seed in range(2):
        torch_update(model, optimizer, TRAIN.roll(seed + 1, 0))
    model.second.requires_grad_(True)
    for _ in range(2):
        there, after = copied(model, optimizer)
        torch_update(there, after, TRAIN)
        check_update(state, model, there)
        check_scores(state, model)
        torch_update(model, optimizer, TRAIN.flip(0))


def test_layers_that_the_batch_does_not_reach_are_left_alone() -> None:
    """As routed layers: trained before, without gradient in this batch, though the held-out loss depends on them."""

    def routed(model: nn.Module, samples: Tensor) -> Tensor:
        skip = samples[:, 0] > 5  # training samples pass the second layer by
        hidden = torch.tanh(model.first(samples[:, :3]))
        if not skip.all():
            hidden = torch.where(skip[:, None], hidden, torch.tanh(model.second(hidden)))
        return (model.last(hidden)[:, 0] - samples[:, 3]).square()

    model, optimizer, state = trained(adamw, 2)
    batch = TRAIN + torch.tensor([10.0, 0, 0, 0], dtype=torch.float64)
    there, after = copied(model, optimizer)
    torch_update(there, after, batch, losses=routed)
    taken = moved(model, there)
    assert not taken["second.weight"].any() and not taken["scale"].any() and taken["first.weight"].any()
    update, _ = batch_update(state, model, routed, batch, 3)
    assert set(update.start) == {"first.weight", "first.bias", "last.weight", "last.bias"}
    found = explain_update(state, model, routed, batch, HELDOUT, **EXACT)
    assert abs(float(found["residual"])) < 1e-11
    assert set(found.attrs["skipped"]) == {"second.weight", "second.bias", "spare", "scale"}
    with torch.no_grad():
        change = float((routed(there, HELDOUT) - routed(model, HELDOUT)).mean())
    assert float(found["change"]) == pytest.approx(change, rel=1e-9)


@pytest.mark.parametrize("name", ["Adam in groups", "SGD in groups", "AdamW"])
def test_parts_of_the_batch_are_the_definition(name: str) -> None:
    model, _, state = trained(OPTIMIZERS[name], 2, 0.3)
    model.last.bias.requires_grad_(False)
    model.zero_grad()
    whole = explain_update(state, model, losses, TRAIN, HELDOUT, **EXACT)
    train_part, heldout_part = torch.tensor([0, 0, 1, 1, 1, 2, 2]), torch.tensor([0, 0, 0, 1, 1])
    groups = {key: index % 3 for index, key in enumerate(state.names())}
    found = cross_influence(
        state,
        model,
        losses,
        Parts(TRAIN, train_part),
        Parts(HELDOUT, heldout_part),
        groups,
        quadrature=(whole["node"].values.tolist(), whole["weight"].values.tolist()),
        memory_mb=1,
        samples_per_pass=3,
    )
    truth = reference_updates.explain(
        model,
        moments(state),
        state.hyperparameters,
        losses,
        [TRAIN[train_part == z] for z in range(3)],
        [HELDOUT[heldout_part == part] for part in range(2)],
        nodes=16,
    )
    expected = torch.zeros_like(found.scores)
    for key, dense in truth.scores.items():
        expected[:, :, groups[key]] += dense.reshape(*dense.shape[:2], -1).sum(2)
    torch.testing.assert_close(found.scores, expected, rtol=1e-8, atol=1e-13)
    assert [key for key, p in model.named_parameters() if not p.requires_grad] == ["last.bias"]


def test_the_options_are_told(tmp_path: Path) -> None:
    for name, optimizer, lr, step in (
        ("Adam in groups", "Adam and AdamW", [0.02, 0.05], 2),
        ("SGD", "SGD", 0.1, -1),
        ("AdamW", "AdamW", 0.02, 2),
    ):
        model, _, state = trained(OPTIMIZERS[name], 2)
        found = explain_update(state, model, losses, TRAIN, HELDOUT)
        attrs = found.attrs
        assert (attrs["optimizer"], attrs["step"], attrs["skipped"]) == (optimizer, step, ["spare"])
        assert (sorted(attrs["lr"]) if isinstance(attrs["lr"], list) else attrs["lr"]) == lr
        write_dataset(found, tmp_path / name, kind="update")
        assert read_dataset(tmp_path / name, kind="update").attrs["optimizer"] == optimizer


def test_another_model_is_explained_as_the_runs_own() -> None:
    model, _, state = trained(adam, 2)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.first.weight.zero_()
    one = explain_update(state, model, losses, TRAIN, HELDOUT)
    two = explain_update(state, other, losses, TRAIN, HELDOUT)
    np.testing.assert_array_equal(one["score"], two["score"])
    other.first.requires_grad_(False)
    with pytest.raises(StoreError, match="differs from that of the training run in what is frozen"):
        explain_update(state, other, losses, TRAIN, HELDOUT)


def test_a_state_made_before_training_is_of_the_moment_of_explaining() -> None:
    model, optimizer, state = trained(adam, 0)
    for seed in range(3):
        torch_update(model, optimizer, TRAIN.roll(seed, 0))
    optimizer.param_groups[0]["lr"] = 0.3
    there, after = copied(model, optimizer)
    torch_update(there, after, TRAIN)
    check_update(state, model, there)
    assert explain_update(state, model, losses, TRAIN, HELDOUT).attrs["step"] == 3
