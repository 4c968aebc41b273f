"""The explanation of an update against its definition, and its laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explaind.errors import DataError, RecordingError, TrainingError
from explaind.experiments.eurollm.model import COMPONENTS, describe, sequence_losses
from explaind.experiments.language.checkpoints import cast_parameters
from explaind.reference import updates as reference_updates
from explaind.updates.chunks import chunks
from explaind.updates.cross_influence import Parts, cross_influence
from explaind.updates.explain import batch_update, explain_update
from explaind.updates.path import add_gradient
from explaind.updates.terms import TERMS
from tests.updates.tiny import CONFIG, make, tokens, torch_update, units_of

EXACT = {"relative_tolerance": 1e-13, "min_nodes": 7, "max_nodes": 27, "samples_per_pass": 3}
TRAIN, HELDOUT = tokens(7, 1), tokens(5, 2)


@pytest.mark.parametrize("updates", [0, 1, 4])
@pytest.mark.parametrize("clip", [None, 0.3])
def test_the_end_of_the_path_is_torchs_update(updates: int, clip: float | None) -> None:
    checkpoint, model, optimizer = make(updates, clip=clip)
    update, _ = batch_update(checkpoint, model, sequence_losses, TRAIN, 3)
    update.place(model, 1.0)
    ours = {name: p.detach().clone() for name, p in model.named_parameters()}
    checkpoint.load_weights(model)
    torch_update(model, optimizer, TRAIN, clip)
    assert (update.clip < 1) == (clip is not None)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours[name], parameter.detach(), rtol=0, atol=1e-15, msg=name)


def test_scores_are_the_definition() -> None:
    checkpoint, model, _ = make()
    units = units_of(model)
    found = explain_update(checkpoint, model, sequence_losses, TRAIN, HELDOUT, units=units, **EXACT)
    checkpoint.load_weights(model)
    truth = reference_updates.explain(
        model, checkpoint.moments, checkpoint.hyperparameters, sequence_losses, [TRAIN], [HELDOUT]
    )
    for name in units.names:
        cut = units.cuts[name]
        dense = truth.scores[name][:, 0]
        blocks = dense.chunk(cut.blocks, dim=1 + cut.axis) if cut.blocks > 1 else (dense,)
        expected = torch.stack([block.flatten(1).sum(1) for block in blocks], dim=1)
        got = torch.from_numpy(found["score"].values[:, units.slices[name]])
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-13, msg=name)
    assert float(found["change"]) == pytest.approx(float(truth.change[0]), rel=1e-12)


def test_completeness_and_its_convergence() -> None:
    checkpoint, model, _ = make(lr=0.1)  # a long way, so that few nodes are too few
    found = explain_update(checkpoint, model, sequence_losses, TRAIN, HELDOUT, **EXACT | {"max_nodes": 200})
    assert abs(float(found["residual"])) <= 1e-8
    assert float(found["change"]) == pytest.approx(
        float(found["score"].sum()) + float(found["residual"]), rel=1e-14
    )
    errors = np.abs(found["by_nodes"].values - float(found["change"]))
    assert list(found["nodes"].values) == [1, 3, 7]
    assert (errors[1:] < errors[:-1]).all() and errors[0] > 1e-6
    assert list(found["term"].values) == list(TERMS)


def test_nodes_stop_at_the_tolerance() -> None:
    checkpoint, model, _ = make(lr=0.1)
    errors = {}
    for tolerance in (1e-1, 1e-4, 1e-9):
        found = explain_update(
            checkpoint, model, sequence_losses, TRAIN, HELDOUT, relative_tolerance=tolerance
        )
        errors[int(found["passes"])] = abs(float(found["residual"] / found["change"]))
        assert abs(float(found["residual"] / found["change"])) <= tolerance
    assert len(errors) > 1
    few = explain_update(
        checkpoint, model, sequence_losses, TRAIN, HELDOUT, relative_tolerance=1e-9, max_nodes=3
    )
    assert (
        int(few["passes"]) == 3 and abs(float(few["residual"] / few["change"])) > 1e-9
    )  # reported, not hidden


def test_a_sharp_bend_is_found_by_halving() -> None:
    """A token's embedding that the update moves through zero: RMSNorm turns it around within a thousandth of the path."""
    checkpoint, model, _ = make(lr=1e-2)
    name, token = "model.embed_tokens.weight", int(HELDOUT[0, 0])
    update, _ = batch_update(checkpoint, model, sequence_losses, TRAIN, 3)
    step = (update.batch[name] + update.momentum[name])[token]
    bend = (
        0.3 * step
    )  # where it starts; it is zero at 0.3 of the path, up to what this change does to the update
    checkpoint.weights[name][token] = bend + 1e-4
    rough, found = (
        explain_update(
            checkpoint, model, sequence_losses, TRAIN, HELDOUT, relative_tolerance=1e-6, max_nodes=count
        )
        for count in (7, 200)
    )
    assert abs(float(rough["residual"] / rough["change"])) > 1e-4
    assert abs(float(found["residual"] / found["change"])) <= 1e-6
    assert 7 < int(found["passes"]) <= 200 and float(found["weight"].sum()) == pytest.approx(1, abs=1e-12)
    width = np.diff(np.sort(found["node"].values))
    assert width.min() < 0.02 < width.max(), "nodes are dense at the bend alone"


def test_passes_and_order_change_nothing() -> None:
    checkpoint, model, _ = make()
    reference = explain_update(checkpoint, model, sequence_losses, TRAIN, HELDOUT, samples_per_pass=100)
    for size, train in ((1, TRAIN), (4, TRAIN), (2, TRAIN.flip(0))):
        other = explain_update(checkpoint, model, sequence_losses, train, HELDOUT, samples_per_pass=size)
        np.testing.assert_allclose(other["score"], reference["score"], rtol=1e-9, atol=1e-15)


def test_the_model_is_left_as_it_was() -> None:
    checkpoint, model, _ = make()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}

    def fails(model: nn.Module, samples: Tensor) -> Tensor:
        if torch.equal(samples, HELDOUT):
            raise KeyboardInterrupt
        return sequence_losses(model, samples)

    explain_update(checkpoint, model, sequence_losses, TRAIN, HELDOUT)
    with pytest.raises(KeyboardInterrupt):
        explain_update(checkpoint, model, fails, TRAIN, HELDOUT)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, checkpoint.weights[name]) and torch.equal(
            parameter.grad, gradients[name]
        )


def test_one_gradient_at_a_time() -> None:
    """While the backward pass runs, no parameter keeps a gradient."""
    _, model, _ = make()
    seen: list[int] = []

    def use(name: str, gradient: Tensor) -> None:
        seen.append(sum(p.grad is not None for p in model.parameters()))

    add_gradient(model, sequence_losses, TRAIN, 3, use)
    assert set(seen) == {1} and all(p.grad is None for p in model.parameters())
    assert len(seen) == 3 * len(list(model.parameters()))  # seven sequences, three at a time


def test_low_precision_weights_report_what_they_cost() -> None:
    checkpoint, model, _ = make()
    exact = explain_update(checkpoint, model.double(), sequence_losses, TRAIN, HELDOUT)
    frequencies = model.model.rotary_emb.inv_freq.clone()
    rough = explain_update(
        checkpoint, cast_parameters(model, torch.bfloat16), sequence_losses, TRAIN, HELDOUT
    )
    assert torch.equal(model.model.rotary_emb.inv_freq, frequencies), "positions are no weights"
    cost = abs(float(rough["residual"] / rough["change"]))
    assert np.isfinite(rough["score"]).all()
    assert cost > 100 * abs(float(exact["residual"] / exact["change"]))


@pytest.mark.parametrize("limit", [500, 10_000])
def test_parts_are_the_definition_and_add_up(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explaind.updates.cross_influence.BLOCK", 16)
    monkeypatch.setattr("explaind.updates.cross_influence.TOGETHER", 1)
    cut: list[int] = []

    def few(sizes: dict[str, int], _: int) -> list:
        found = list(chunks(sizes, limit))
        cut.append(len(found))
        return found

    monkeypatch.setattr("explaind.updates.cross_influence.chunks", few)
    checkpoint, model, _ = make()
    whole = explain_update(checkpoint, model, sequence_losses, TRAIN, HELDOUT, **EXACT)
    quadrature = (whole["node"].values.tolist(), whole["weight"].values.tolist())
    train_part, heldout_part = torch.tensor([0, 0, 1, 1, 1, 2, 2]), torch.tensor([0, 0, 0, 1, 1])
    groups = {
        name: COMPONENTS.index(describe(CONFIG, name, checkpoint.shape(name)).component)
        for name in checkpoint.names()
    }
    found = cross_influence(
        checkpoint,
        model,
        sequence_losses,
        Parts(TRAIN, train_part),
        Parts(HELDOUT, heldout_part),
        groups,
        quadrature=quadrature,
        memory_mb=1,
        samples_per_pass=3,
    )
    assert cut == [9 if limit == 500 else 1]
    np.testing.assert_allclose(found.change - found.scores.sum((0, 2)), found.residual, atol=1e-15)
    assert float(found.residual.abs().max()) < 1e-8
    scores = found.scores
    checkpoint.load_weights(model)
    truth = reference_updates.explain(
        model,
        checkpoint.moments,
        checkpoint.hyperparameters,
        sequence_losses,
        [TRAIN[train_part == z] for z in range(3)],
        [HELDOUT[heldout_part == part] for part in range(2)],
    )
    expected = torch.zeros_like(scores)
    for name, dense in truth.scores.items():
        expected[:, :, groups[name]] += dense.flatten(2).sum(2)
    torch.testing.assert_close(scores, expected, rtol=1e-7, atol=1e-12)
    shares = torch.tensor([3 / 5, 2 / 5], dtype=torch.float64)
    terms = torch.stack([scores[:-2].sum(0), scores[-2], scores[-1]]).sum(2) @ shares
    np.testing.assert_allclose(terms, whole["score"].sum("unit"), rtol=1e-9)
    assert all(p.requires_grad for p in model.parameters())


def test_chunks_keep_the_order_and_the_limit() -> None:
    found = list(chunks({"a": 3, "b": 9, "c": 2}, 5))
    assert found == [
        {"a": slice(0, 3), "b": slice(0, 2)},
        {"b": slice(2, 7)},
        {"b": slice(7, 9), "c": slice(0, 2)},
    ]
    assert list(chunks({"a": 3, "b": 9}, 100)) == [{"a": slice(0, 3), "b": slice(0, 9)}]


def test_what_cannot_be_explained_is_refused() -> None:
    checkpoint, model, _ = make()
    with pytest.raises(DataError, match="no held-out samples"):
        explain_update(checkpoint, model, sequence_losses, TRAIN, HELDOUT[:0])
    with pytest.raises(DataError, match="no training samples"):
        explain_update(checkpoint, model, sequence_losses, TRAIN[:0], HELDOUT)
    checkpoint.moments["lm_head.weight"][1][0, 0] = -1.0
    with pytest.raises(TrainingError, match="held-out loss is not finite"):
        explain_update(checkpoint, model, sequence_losses, TRAIN, HELDOUT)
    with pytest.raises(RecordingError, match="dropout"):
        explain_update(checkpoint, nn.Sequential(nn.Dropout(0.1), model), sequence_losses, TRAIN, HELDOUT)
    checkpoint.weights["lm_head.weight"][0, 0] = float("nan")
    with pytest.raises(TrainingError, match="gradient of the batch at tiny is not finite"):
        explain_update(checkpoint, model, sequence_losses, TRAIN, HELDOUT)
