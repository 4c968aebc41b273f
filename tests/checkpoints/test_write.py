"""What cannot be replayed is not written, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from explaind.checkpoints import Hyperparameters, write_checkpoint
from explaind.checkpoints.hyperparameters import hyperparameters_from
from explaind.errors import StoreError
from tests.checkpoints.conftest import Trained
from tests.checkpoints.made import CONFIG, adamw, make, options, train


def refused(
    tmp_path: Path,
    model: nn.Module,
    optimizer: Any,
    words: str,
    *,
    step: int = 0,
    config: dict[str, Any] = CONFIG,
) -> None:
    with pytest.raises(StoreError, match=words):
        write_checkpoint(tmp_path / "here", model, optimizer, options(model, step), config)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["amsgrad", "maximize"])
def test_options_that_cannot_be_replayed(tmp_path: Path, option: str) -> None:
    model = make()
    refused(tmp_path, model, torch.optim.AdamW(model.parameters(), **{option: True}), f"made with {option}")


def test_other_optimizers(tmp_path: Path) -> None:
    model = make()
    refused(tmp_path, model, torch.optim.Adam(model.parameters()), "this optimizer cannot be written")


def test_parameters_that_the_optimizer_does_not_hold(tmp_path: Path) -> None:
    model = make()
    words = "does not hold the parameter model.embed_tokens.weight"
    refused(tmp_path, model, torch.optim.AdamW(list(model.parameters())[1:]), words)
    refused(tmp_path, model, torch.optim.AdamW(make().parameters()), words)


def test_parameters_that_are_not_the_models(tmp_path: Path) -> None:
    model = make()
    optimizer = torch.optim.AdamW([*model.parameters(), nn.Parameter(torch.zeros(3))])
    refused(tmp_path, model, optimizer, "parameters that are not the model's")


def change_weight(model: nn.Module, optimizer: torch.optim.AdamW) -> None:
    model.lm_head.weight.data[1, 2] = float("nan")


def change_moment(model: nn.Module, optimizer: torch.optim.AdamW) -> None:
    optimizer.state[model.lm_head.weight]["exp_avg"][0, 0] = float("inf")


def change_square(model: nn.Module, optimizer: torch.optim.AdamW) -> None:
    optimizer.state[model.lm_head.weight]["exp_avg_sq"][0, 0] = -1.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_weight, "The tensor lm_head.weight of the training run is not finite"),
        (change_moment, "The tensor exp_avg.lm_head.weight of the training run is not finite"),
        (change_square, "The tensor exp_avg_sq.lm_head.weight of the training run is negative"),
    ],
)
def test_impossible_values(
    tmp_path: Path, change: Callable[[nn.Module, torch.optim.AdamW], None], words: str
) -> None:
    model = make()
    optimizer = adamw(model)
    train(model, optimizer, 1)
    change(model, optimizer)
    refused(tmp_path, model, optimizer, words, step=1)


def test_another_number_of_updates(trained: Trained, tmp_path: Path) -> None:
    model, optimizer, _ = trained
    refused(tmp_path, model, optimizer, "differ in the number of updates of model.embed_tokens", step=4)
    refused(tmp_path, make(), adamw(model), "does not hold", step=1)


def test_a_parameter_that_was_never_trained(tmp_path: Path) -> None:
    model = make()
    model.model.norm.weight.requires_grad_(False)
    optimizer = adamw(model)
    train(model, optimizer, 1)
    refused(tmp_path, model, optimizer, "number of updates of model.norm.weight", step=1)


def test_another_configuration(trained: Trained, tmp_path: Path) -> None:
    model, optimizer, _ = trained
    for change, words in (
        ({"intermediate_size": 24}, "gate_proj.weight in the model has another shape"),
        ({"num_hidden_layers": 3}, "does not hold the tensor model.layers.2"),
        ({"tie_word_embeddings": True}, "holds a tensor that the model does not have|lm_head"),
        ({"model_type": "gemma"}, "describes another kind of model"),
    ):
        refused(tmp_path, model, optimizer, words, step=3, config={**CONFIG, **change})


def test_double_precision(tmp_path: Path) -> None:
    model = make(dtype=torch.float64)
    refused(tmp_path, model, adamw(model), "has a dtype that is not read")


def test_a_folder_that_exists(trained: Trained) -> None:
    model, optimizer, folder = trained
    with pytest.raises(StoreError, match="exists already"):
        write_checkpoint(folder, model, optimizer, options(model), CONFIG)


def test_a_folder_that_cannot_be_made(trained: Trained, tmp_path: Path) -> None:
    model, optimizer, _ = trained
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="could not be written"):
        write_checkpoint(tmp_path / "file" / "here", model, optimizer, options(model), CONFIG)


def test_an_undecayed_name_that_the_model_lacks(trained: Trained, tmp_path: Path) -> None:
    model, optimizer, _ = trained
    with pytest.raises(StoreError, match="undecayed parameter that the model does not have") as caught:
        write_checkpoint(
            tmp_path / "here", model, optimizer, replace(options(model), undecayed=("norm",)), CONFIG
        )
    assert caught.value.got == "norm"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step", -1),
        ("step", 1.5),
        ("lr", float("nan")),
        ("lr", "0.1"),
        ("betas", (0.9, 1.0)),
        ("betas", (0.9,)),
        ("eps", -1e-8),
        ("weight_decay", None),
        ("undecayed", "norm"),
        ("clip_norm", 0.0),
    ],
)
def test_hyperparameters_outside_their_range(name: str, value: Any) -> None:
    right = {"step": 1, "lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1}
    right |= {"undecayed": (), "clip_norm": None}
    Hyperparameters(**right)
    with pytest.raises(StoreError, match=f"The hyperparameter {name} has no meaning"):
        Hyperparameters(**{**right, name: value})
    wrong = {key: list(entry) if isinstance(entry, tuple) else entry for key, entry in right.items()}
    wrong[name] = list(value) if isinstance(value, tuple) else value
    with pytest.raises(StoreError, match=f"{name} has no meaning for AdamW in here.json"):
        hyperparameters_from(wrong, Path("here.json"))
