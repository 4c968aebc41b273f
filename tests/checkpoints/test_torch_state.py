"""State that torch.save left: the same tensors by name, or a refusal."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from explaind.checkpoints import Checkpoint, open_checkpoint
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
        (lambda s: s["state"].pop(3), ("holds no exp_avg of",)),
        (lambda s: s["state"][3].pop("exp_avg_sq"), ("holds no exp_avg_sq of",)),
        (lambda s: s["state"][3].update(exp_avg=torch.ones(3)), ("another shape", "(3,)")),
        (lambda s: s["state"][3].update(step=torch.tensor(9.0)), ("not all updated equally often", "9 for")),
        (lambda s: s["param_groups"].pop(), ("another model", "parameters")),
        (lambda s: s["param_groups"][0].update(amsgrad=True), ("amsgrad",)),
        (lambda s: s["param_groups"][1].update(maximize=True), ("maximize",)),
        (lambda s: s["param_groups"][0].update(decoupled_weight_decay=False), ("made with Adam",)),
        (lambda s: s["param_groups"][0].update(lr=0.5), ("differ in lr",)),
        (lambda s: s["param_groups"][0].pop("eps"), ("do not say eps",)),
        (lambda s: s["param_groups"][1].update(weight_decay=0.2), ("differ in weight_decay",)),
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
