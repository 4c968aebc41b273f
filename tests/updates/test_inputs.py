"""What a user may pass by mistake is refused in words, before any expensive work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explaind.checkpoints import TrainingState, open_checkpoint, write_checkpoint
from explaind.errors import ConfigError, DataError, QueryError, RecordingError, StoreError
from explaind.experiments.eurollm.model import sequence_losses
from explaind.features.units import make_units
from explaind.updates.explain import explain_update
from tests.checkpoints import made
from tests.updates.networks import HELDOUT, OPTIMIZERS, TRAIN, losses, torch_update, trained
from tests.updates.tiny import tokens


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda found: (found, found), "tuple of 2"),
        (lambda found: [found], "list of 1"),
        (lambda found: {"loss": found}, "dict of 1"),
        (lambda found: float(found.sum()), "float"),
        (lambda found: None, "NoneType"),
        (lambda found: found[:, None], r"shape \[2, 1\] for 2 samples"),
        (lambda found: found.mean(), r"shape \[\] for 2 samples"),
        (lambda found: found[:1], r"shape \[1\] for 2 samples"),
        (lambda found: torch.cat([found, found]), r"shape \[4\] for 2 samples"),
        (lambda found: (found > 0.5).long(), "torch.int64"),
        (lambda found: found.to(torch.complex128), "torch.complex128"),
    ],
)
def test_losses_that_are_not_one_for_each_sample(change: Callable[[Tensor], Any], got: str) -> None:
    model, _, state = trained(OPTIMIZERS["Adam"], 1)
    calls = []

    def wrong(model: nn.Module, samples: Tensor) -> Any:
        calls.append(len(samples))
        return change(losses(model, samples))

    with pytest.raises(DataError, match=f"does not return one loss for each sample.*Got: .*{got}"):
        explain_update(state, model, wrong, TRAIN, HELDOUT)
    assert calls == [2], "at the first evaluation of two samples"


def test_losses_that_change_their_shape_later() -> None:
    model, _, state = trained(OPTIMIZERS["Adam"], 1)

    def wrong(model: nn.Module, samples: Tensor) -> Tensor:
        found = losses(model, samples)
        return found[:-1] if len(samples) == 7 else found

    with pytest.raises(DataError, match=r"shape \[6\] for 7 samples"):
        explain_update(state, model, wrong, TRAIN, HELDOUT)


@pytest.mark.parametrize("role", ["training", "held-out"])
@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ((TRAIN[:, :3], TRAIN[:, 3]), "samples are no tensor.*Got: tuple"),
        ([TRAIN[0], TRAIN[1]], "samples are no tensor.*Got: list"),
        (None, "samples are no tensor.*Got: NoneType"),
        (TRAIN[0, 0], r"samples are no tensor.*shape \[\]"),
        (TRAIN.to_sparse(), "samples are no tensor.*sparse"),
        (TRAIN[:0], "There are no {role} samples"),
        (TRAIN[:, :2], "The loss function fails on .* {role} sample together.*RuntimeError"),
        (TRAIN.long(), "The loss function fails on .* {role} sample together.*RuntimeError"),
    ],
)
def test_samples_that_are_none(role: str, samples: Any, words: str) -> None:
    model, _, state = trained(OPTIMIZERS["AdamW"], 1)
    given = (samples, HELDOUT) if role == "training" else (TRAIN, samples)
    with pytest.raises(DataError, match=words.format(role=role)):
        explain_update(state, model, losses, *given)


def test_models_that_cannot_be_moved() -> None:
    model, optimizer, state = trained(OPTIMIZERS["AdamW"], 1)
    optimizer.zero_grad()
    with pytest.raises(DataError, match="no parameter that an update could move.*without parameters"):
        explain_update(state, nn.Identity(), losses, TRAIN, HELDOUT)
    with pytest.raises(DataError, match="lazy module"):
        explain_update(state, nn.LazyLinear(1), losses, TRAIN, HELDOUT)
    with pytest.raises(StoreError, match="does not fit the model"):
        explain_update(state, nn.Linear(3, 1), losses, TRAIN, HELDOUT)

    def detached(model: nn.Module, samples: Tensor) -> Tensor:
        return losses(model, samples).detach()

    with pytest.raises(DataError, match="depends on no parameter that requires a gradient"):
        explain_update(state, model, detached, TRAIN, HELDOUT)
    model.requires_grad_(False)
    with pytest.raises(DataError, match="no parameter that an update could move.*8 frozen parameters"):
        explain_update(state, model, losses, TRAIN, HELDOUT)


def test_parameters_that_are_no_real_dense_numbers() -> None:
    model = nn.Linear(3, 1, dtype=torch.complex64)
    state = TrainingState(model, torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(DataError, match="real floating-point numbers.*complex64"):
        explain_update(state, model, losses, TRAIN, HELDOUT)
    table = nn.Embedding(5, 2, sparse=True)
    state = TrainingState(table, torch.optim.SGD(table.parameters(), lr=0.1))
    words = torch.tensor([0, 1, 1])
    with pytest.raises(DataError, match="weight has a sparse gradient"):
        explain_update(state, table, lambda model, x: model(x).square().sum(1), words, words)


def test_a_held_out_loss_that_nothing_moves() -> None:
    """Exact: it does not change."""
    model, _, state = trained(OPTIMIZERS["AdamW"], 1)

    def other(model: nn.Module, samples: Tensor) -> Tensor:
        return losses(model, samples) if samples[0, 0] < 50 else model.spare.sum().expand(len(samples))

    found = explain_update(state, model, other, TRAIN, HELDOUT + 100)
    assert float(found["change"]) == 0 and not found["score"].values.any()


@pytest.mark.parametrize(
    "options",
    [
        {"samples_per_pass": 0},
        {"max_nodes": 0},
        {"min_nodes": 0.5},
        {"relative_tolerance": -1.0},
        {"relative_tolerance": float("nan")},
    ],
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    model, _, state = trained(OPTIMIZERS["SGD"], 0)
    with pytest.raises(ConfigError, match=f"{next(iter(options))} is out of range"):
        explain_update(state, model, losses, TRAIN, HELDOUT, **options)


def test_units_of_another_model() -> None:
    model, _, state = trained(OPTIMIZERS["AdamW"], 1)
    with pytest.raises(QueryError, match="leave the parameter spare out"):
        explain_update(state, model, losses, TRAIN, HELDOUT, units=make_units({"other": (3,)}))


def test_a_gradient_that_is_not_finite_leaves_the_model() -> None:
    """Also where the update itself would be infinite."""
    model, optimizer, state = trained(OPTIMIZERS["AdamW"], 1)
    optimizer.state[model.last.bias]["exp_avg_sq"].fill_(-1.0)
    kept = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(Exception, match="held-out loss is not finite"):
        explain_update(state, model, losses, TRAIN, HELDOUT)
    assert all(torch.equal(p, one) for p, one in zip(model.parameters(), kept, strict=True))


def test_within_inference_mode_and_no_grad() -> None:
    model, _, state = trained(OPTIMIZERS["Adam"], 1)
    expected = explain_update(state, model, losses, TRAIN, HELDOUT)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            found = explain_update(state, model, losses, TRAIN, HELDOUT)
        np.testing.assert_array_equal(found["score"], expected["score"])


@pytest.mark.parametrize("kind", ["Adam", "SGD"])
def test_from_torchs_files(tmp_path: Path, kind: str) -> None:
    """Weights and state_dict on disk give what the live run gives, frozen layers and groups included."""
    model = made.make()
    folder = tmp_path / "weights"
    made_by = made.adamw(model)
    write_checkpoint(folder, model, made_by, made.options(model, 0), made.CONFIG)
    model.model.layers[0].requires_grad_(False)
    named = list(model.named_parameters())
    groups = [{"params": named[:6], "lr": 0.02}, {"params": named[6:], "weight_decay": 0.1}]
    optimizer = (
        torch.optim.Adam(groups, lr=0.01)
        if kind == "Adam"
        else torch.optim.SGD(groups, lr=0.01, momentum=0.9)
    )
    for seed in range(2):
        torch_update(model, optimizer, tokens(4, seed) % 19, losses=sequence_losses)
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    made.edit(folder / "model.safetensors", lambda tensors: tensors.update(model.state_dict()))
    checkpoint = open_checkpoint(folder, optimizer=tmp_path / "optimizer.pt", format="torch")
    checkpoint.verify()
    batch, heldout = tokens(4, 5) % 19, tokens(3, 6) % 19
    live = explain_update(TrainingState(model, optimizer), model, sequence_losses, batch, heldout)
    other = made.make()
    with pytest.raises(StoreError, match="layers.0.* receives a gradient, but .* has none of it"):
        explain_update(checkpoint, other, sequence_losses, batch, heldout)
    other.model.layers[0].requires_grad_(False)
    found = explain_update(checkpoint, other, sequence_losses, batch, heldout)
    np.testing.assert_array_equal(found["score"], live["score"])
    assert "holds no state of model.layers.0" in found.attrs["notes"]
    del optimizer.state[optimizer.param_groups[0]["params"].pop(0)]
    del optimizer.param_groups[0]["param_names"][0]
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    fewer = open_checkpoint(folder, optimizer=tmp_path / "optimizer.pt", format="torch")
    with pytest.raises(StoreError, match=r"does not hold the parameter model.embed_tokens.weight"):
        explain_update(fewer, other, sequence_losses, batch, heldout)


def test_random_modules_are_refused_before_anything_is_read() -> None:
    model, _, state = trained(OPTIMIZERS["AdamW"], 1)
    model.more = nn.Dropout(0.5)
    with pytest.raises(RecordingError, match="dropout"):
        explain_update(state, model, losses, TRAIN, HELDOUT)
