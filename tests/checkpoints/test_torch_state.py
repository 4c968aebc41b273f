"""State that torch.save left: the same tensors by name, or a refusal."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from explaind.checkpoints import Checkpoint, Options, open_checkpoint
from explaind.errors import StoreError
from tests.checkpoints.conftest import Trained
from tests.checkpoints.made import BETAS, DECAY, EPS, LR, OTHER, adamw, cut, make, options, train
from tests.checkpoints.test_round_trip import updated


def opened(trained: Trained, tmp_path: Path, content: Any) -> Checkpoint:
    torch.save(content, tmp_path / "optimizer.pt")
    return open_checkpoint(trained[2], optimizer=tmp_path, format="torch")


def refused(trained: Trained, tmp_path: Path, content: Any, *words: str) -> None:
    with pytest.raises(StoreError) as caught:
        opened(trained, tmp_path, content)
    for word in (str(tmp_path), *words):
        assert word in str(caught.value)


def test_two_groups_without_names(trained: Trained, tmp_path: Path) -> None:
    model, optimizer, folder = trained
    checkpoint = opened(trained, tmp_path, optimizer.state_dict())
    checkpoint.verify()
    own = open_checkpoint(folder)
    for name in own.names():
        assert torch.equal(own.exp_avg(name), checkpoint.exp_avg(name))
        assert torch.equal(own.exp_avg_sq(name), checkpoint.exp_avg_sq(name))
    found, expected = checkpoint.hyperparameters, options(model)
    assert (found.step, found.lr, found.betas, found.eps) == (3, LR, BETAS, EPS)
    assert {name: found.decay(name) for name in own.names()} == {n: expected.decay(n) for n in own.names()}
    assert found.clip_norm is None
    assert [note for note in checkpoint.notes if "clipp" in note]
    gradients = {name: torch.ones(own.shape(name)) for name in own.names()}
    for name, after in updated(checkpoint, gradients).items():
        assert torch.equal(after, updated(own, gradients)[name])


def test_one_group_and_names(tmp_path: Path, trained: Trained) -> None:
    for arguments, undecayed in (
        (lambda model: list(model.parameters()), 0),
        (lambda model: list(model.named_parameters())[::-1], 0),
    ):
        model = make()
        optimizer = torch.optim.AdamW(arguments(model), weight_decay=DECAY)
        train(model, optimizer)
        checkpoint = opened(trained, tmp_path, optimizer.state_dict())
        assert len(checkpoint.hyperparameters.undecayed) == undecayed
        for name, parameter in model.named_parameters():
            assert torch.equal(checkpoint.exp_avg(name), optimizer.state[parameter]["exp_avg"])


def test_named_groups_in_any_division(tmp_path: Path, trained: Trained) -> None:
    model = make()
    named = list(model.named_parameters())
    groups = [{"params": named[5:], "weight_decay": 0.0}, {"params": named[:5], "weight_decay": 0.3}]
    optimizer = torch.optim.AdamW(groups)
    train(model, optimizer, 2)
    checkpoint = opened(trained, tmp_path, optimizer.state_dict())
    assert set(checkpoint.hyperparameters.undecayed) == {name for name, _ in named[5:]}
    assert checkpoint.hyperparameters.weight_decay == 0.3
    for name, parameter in named:
        assert torch.equal(checkpoint.exp_avg_sq(name), optimizer.state[parameter]["exp_avg_sq"])


def test_before_the_first_update_moments_are_zeros(trained: Trained, tmp_path: Path) -> None:
    checkpoint = opened(trained, tmp_path, adamw(make()).state_dict())
    assert checkpoint.hyperparameters.step == 0
    assert torch.equal(checkpoint.exp_avg("model.norm.weight"), torch.zeros(16))
    checkpoint.verify()


def test_clipping_and_rate_from_beside(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "hyperparameters.json").write_text(json.dumps({"clip_norm": 0.5, "lr": 0.002}))
    checkpoint = opened(trained, tmp_path, trained[1].state_dict())
    assert (checkpoint.hyperparameters.clip_norm, checkpoint.hyperparameters.lr) == (0.5, 0.002)
    assert not [note for note in checkpoint.notes if "clipp" in note]
    (tmp_path / "hyperparameters.json").write_text(json.dumps({"step": 4}))
    refused(trained, tmp_path, trained[1].state_dict(), "says itself", "step")


def test_code_is_not_run(trained: Trained, tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    refused(trained, tmp_path, {"state": Code()}, "asks for more than tensors", "mkdir")
    assert not (tmp_path / "ran").exists()


def test_files_that_are_none(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no single file of optimizer state"):
        open_checkpoint(trained[2], optimizer=tmp_path, format="torch")
    refused(trained, tmp_path, {"model": {}}, "is no state of an optimizer")
    torch.save(trained[1].state_dict(), tmp_path / "optimizer.pt")
    cut(tmp_path / "optimizer.pt")
    with pytest.raises(StoreError, match="damaged or truncated"):
        open_checkpoint(trained[2], optimizer=tmp_path / "optimizer.pt", format="torch")
    torch.save(trained[1].state_dict(), tmp_path / "optimizer.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(StoreError, match="no file of torch.save in its present format"):
        open_checkpoint(trained[2], optimizer=tmp_path / "optimizer.pt", format="torch")


def state_of(trained: Trained) -> dict[str, Any]:
    found = trained[1].state_dict()
    groups = [dict(group) for group in found["param_groups"]]
    return {"state": {index: dict(entry) for index, entry in found["state"].items()}, "param_groups": groups}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s["state"][3].pop("exp_avg"), ("holds no exp_avg of",)),
        (lambda s: s["state"][3].update(step=torch.tensor(0.0)), ("no number of updates that made them",)),
        (lambda s: s["param_groups"][0].pop("amsgrad"), ("cannot be explained", "without amsgrad")),
        (lambda s: s["param_groups"][0].pop("betas"), ("options of an optimizer",)),
        (lambda s: s["param_groups"][0].update(lr=-0.5), ("hyperparameter lr has no meaning",)),
        (lambda s: s["state"][3].pop("exp_avg_sq"), ("holds no exp_avg_sq of",)),
        (lambda s: s["state"][3].update(exp_avg=torch.ones(3)), ("another shape", "(3,)")),
        (lambda s: s["param_groups"].pop(), ("another model", "parameters")),
        (lambda s: s["param_groups"][0].update(amsgrad=True), ("amsgrad",)),
        (lambda s: s["param_groups"][1].update(maximize=True), ("maximize",)),
        (lambda s: s["param_groups"][0].pop("eps"), ("do not say eps",)),
        (
            lambda s: s["param_groups"][1]["params"].append(s["param_groups"][0]["params"].pop()),
            ("do not tell which parameter is which",),
        ),
    ],
)
def test_states_that_cannot_be_read(
    trained: Trained, tmp_path: Path, change: Callable[[dict[str, Any]], object], words: tuple[str, ...]
) -> None:
    content = state_of(trained)
    change(content)
    refused(trained, tmp_path, content, *words)


def test_groups_that_differ(trained: Trained, tmp_path: Path) -> None:
    content = state_of(trained)
    content["param_groups"][0].update(lr=0.5, decoupled_weight_decay=False)
    content["param_groups"][1].update(weight_decay=0.2, betas=(0.5, 0.6))
    found = opened(trained, tmp_path, content)
    found.verify()
    options = found.hyperparameters
    assert options.of("model.norm.weight") == Options("AdamW", 3, LR, 0.2, (0.5, 0.6), EPS)
    assert options.of("lm_head.weight") == Options("Adam", 3, 0.5, DECAY, BETAS, EPS)
    assert (options.lr, options.step, options.decay("model.norm.weight")) == ((0.5, LR), 3, 0.2)
    assert options.optimizer == "Adam and AdamW"
    (tmp_path / "hyperparameters.json").write_text(json.dumps({"lr": 0.1}))
    refused(trained, tmp_path, content, "one learning rate for groups", "0.5, 0.01")


@pytest.mark.parametrize(("momentum", "updates"), [(0.9, 2), (0.9, 0), (0.0, 2)])
def test_sgd(trained: Trained, tmp_path: Path, momentum: float, updates: int) -> None:
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum, dampening=momentum / 3)
    train(model, optimizer, updates)
    (tmp_path / "hyperparameters.json").write_text(json.dumps({"lr": 0.2, "clip_norm": 1.5}))
    found = opened(trained, tmp_path, optimizer.state_dict())
    found.verify()
    expected = Options("SGD", int(bool(momentum and updates)), 0.2, momentum=momentum, dampening=momentum / 3)
    assert {found.hyperparameters.of(name) for name in found.names()} == {expected}
    assert found.hyperparameters.step is None and found.hyperparameters.clip_norm == 1.5
    for name, parameter in model.named_parameters():
        buffer = optimizer.state[parameter].get("momentum_buffer")
        assert torch.equal(found.exp_avg(name), torch.zeros_like(parameter) if buffer is None else buffer)


def test_layers_that_were_frozen_for_a_time(trained: Trained, tmp_path: Path) -> None:
    content = state_of(trained)
    content["state"].pop(3)
    content["state"][0].update(step=torch.tensor(1.0))
    found = opened(trained, tmp_path, content)
    found.verify()
    steps = [found.hyperparameters.of(name).step for name in found.names()]
    assert sorted(set(steps)) == [0, 1, 3] and steps.count(0) == 1
    frozen = found.names()[steps.index(0)]
    assert float(found.exp_avg(frozen).abs().sum()) == 0
    notes = " ".join(found.notes)
    assert f"holds no state of {frozen}" in notes and "moved 1 and 3 times" in notes
    with pytest.raises(StoreError, match=f"{frozen} receives a gradient, but .* requires_grad_"):
        found.hyperparameters.check_moved([frozen], found.name)


def test_an_optimizer_that_was_given_some_parameters(trained: Trained, tmp_path: Path) -> None:
    model = make()
    named = list(model.named_parameters())[3:]
    optimizer = torch.optim.AdamW(named)
    train(model, optimizer, 1)
    found = opened(trained, tmp_path, optimizer.state_dict())
    found.verify()
    assert found.hyperparameters.of(found.names()[0]) is None
    assert [found.hyperparameters.of(name).step for name, _ in named] == [1] * len(named)
    assert "optimizer.pt does not hold model.embed_tokens.weight" in " ".join(found.notes)
    unnamed = torch.optim.AdamW([parameter for _, parameter in named])
    refused(trained, tmp_path, unnamed.state_dict(), "another model")


@pytest.mark.parametrize(
    "kind", [torch.optim.RAdam, torch.optim.NAdam, torch.optim.Adamax, torch.optim.RMSprop]
)
def test_other_optimizers(trained: Trained, tmp_path: Path, kind: type[torch.optim.Optimizer]) -> None:
    model = make()
    optimizer = kind(model.parameters())
    train(model, optimizer, 1)
    refused(trained, tmp_path, optimizer.state_dict(), "options of an optimizer whose next update")


def test_state_of_another_model(trained: Trained, tmp_path: Path) -> None:
    deeper, wider = make(OTHER), make({**OTHER, "num_hidden_layers": 2})
    for model in (deeper, wider):
        train(model, optimizer := adamw(model), 1)
        words = ("another model",) if model is deeper else ("another shape", "exp_avg of model.embed_tokens")
        refused(trained, tmp_path, optimizer.state_dict(), *words)


def test_names_of_another_model(trained: Trained, tmp_path: Path) -> None:
    model = make()
    named = [(f"net.{name}", p) for name, p in model.named_parameters()]
    refused(trained, tmp_path, torch.optim.AdamW(named).state_dict(), "other parameters", "net.model.embed")


def test_computing_in_place_changes_nothing_for_the_next_reader(trained: Trained, tmp_path: Path) -> None:
    checkpoint = opened(trained, tmp_path, trained[1].state_dict())
    first = checkpoint.exp_avg("model.norm.weight")
    kept = first.clone()
    first.mul_(3)
    assert torch.equal(checkpoint.exp_avg("model.norm.weight"), kept)
