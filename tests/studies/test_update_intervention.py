"""Interventions on a simulated update: exact for a linear loss, predicted by the scores, measured as the definition says."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from explaind.checkpoints import TrainingState
from explaind.experiments.eurollm.model import sequence_losses
from explaind.features.quadrature import Accuracy
from explaind.features.units import make_units
from explaind.studies.unit_effects import HeldoutLoss
from explaind.studies.unit_parts import unit_parts
from explaind.studies.update_intervention import act_on_update
from explaind.updates.cross_influence import Parts, cross_influence
from explaind.updates.explain import explain_update
from tests.updates.networks import HELDOUT, OPTIMIZERS, TRAIN, Network, losses
from tests.updates.tiny import make, tokens, units_of

EXACT = Accuracy(1e-13, max_nodes=63, min_nodes=7)
NAMES = ("intervention", "term", "kind", "group", "size", "predicted", "measured", "local")
LANGUAGES = ("eng", "deu", "ell")


def linear(model: nn.Module, samples: Tensor) -> Tensor:
    """A loss without curvature, in which every parameter has a part that differs between samples."""
    parts = [
        (torch.cos(samples[:, :1] * (1 + torch.arange(p.numel()))) * p.flatten()).sum(1)
        for p in model.parameters()
    ]
    return torch.stack(parts).sum(0)


def state_of(
    name: str, loss: Callable[[nn.Module, Tensor], Tensor], clip: float | None
) -> tuple[TrainingState, nn.Module]:
    """A network in training after three updates."""
    torch.manual_seed(1)
    model = Network().double()
    optimizer = OPTIMIZERS[name](model)
    for shift in range(3):
        optimizer.zero_grad()
        loss(model, TRAIN.roll(shift, 0)).mean().backward()
        optimizer.step()
    optimizer.zero_grad()
    return TrainingState(model, optimizer, clip_norm=clip), model


def rows_of(
    name: str, loss: Callable[[nn.Module, Tensor], Tensor], clip: float | None = None
) -> list[SimpleNamespace]:
    state, model = state_of(name, loss, clip)
    units = make_units({one: tuple(p.shape) for one, p in model.named_parameters()})
    parts = {"tensor": unit_parts("tensor", units, {one: state.shape(one) for one in units.names})}
    exact = HeldoutLoss(copy.deepcopy(model), loss, HELDOUT, 3)
    train = (TRAIN, torch.tensor([0, 0, 1, 1, 1, 2, 2]))
    rows = act_on_update(
        state, model, exact, loss, train, LANGUAGES, HELDOUT, units, parts, EXACT, samples_per_pass=3
    )
    return [SimpleNamespace(**dict(zip(NAMES, row, strict=True))) for row in rows]


@pytest.mark.parametrize("clip", [None, 0.3])
@pytest.mark.parametrize("name", ["AdamW", "Adam", "SGD with momentum"])
def test_predictions_are_exact_for_a_linear_loss(name: str, clip: float | None) -> None:
    rows = rows_of(name, linear, clip)
    for row in rows:
        if row.intervention == "none":
            assert abs(row.measured) < 1e-12
            continue
        # Left-out gradients change P and c: of SGD without clipping, neither is there.
        if row.intervention != "leave out" or (name.startswith("SGD") and clip is None):
            assert row.measured == pytest.approx(row.predicted, abs=1e-12), row
        assert row.local == pytest.approx(row.measured, abs=1e-12), "no curvature"
    kinds = [(row.intervention, row.kind) for row in rows]
    assert kinds.count(("reset, one update", "tensor")) == 8
    assert kinds.count(("remove, one update", "language")) == kinds.count(("leave out", "language")) == 3
    assert max(abs(row.measured) for row in rows) > 1e-3


def test_what_nothing_moves_is_no_intervention() -> None:
    """`spare` is used by no loss, and the last group has no decay."""
    rows = rows_of("Adam in groups", losses)
    assert not [row for row in rows if row.group == "spare"]
    decayed = {row.group for row in rows if row.term == "regularization"}
    assert decayed == {"first.weight", "first.bias", "second.weight", "second.bias"}


@pytest.fixture(scope="module")
def llama() -> SimpleNamespace:
    """A tiny Llama's update on three languages, with all interventions on it."""
    checkpoint, model, optimizer = make()
    train, language, heldout = tokens(6, 1), torch.tensor([0, 0, 1, 1, 1, 2]), tokens(4, 2)
    units = units_of(model)
    shapes = {name: checkpoint.shape(name) for name in units.names}
    parts = {kind: unit_parts(kind, units, shapes) for kind in ("component", "layer", "head", "tensor")}
    exact = HeldoutLoss(copy.deepcopy(model), sequence_losses, heldout, 2)
    rows = act_on_update(
        checkpoint, model, exact, sequence_losses, (train, language), LANGUAGES, heldout, units, parts, EXACT,
        samples_per_pass=2,
    )  # fmt: skip
    found = [SimpleNamespace(**dict(zip(NAMES, row, strict=True))) for row in rows]
    return SimpleNamespace(
        rows=found, checkpoint=checkpoint, model=model, optimizer=optimizer, units=units, parts=parts,
        train=train, language=language, heldout=heldout,
    )  # fmt: skip


def updated(llama: SimpleNamespace, without: int | None = None) -> nn.Module:
    """Torch's own update of a copy, with clipping; the sequences of one language do not enter its gradient."""
    model, optimizer = copy.deepcopy((llama.model, llama.optimizer))
    optimizer.zero_grad()
    each = sequence_losses(model, llama.train)
    if without is not None:
        each = each * (llama.language != without)
    each.mean().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    return model


@torch.no_grad()
def value(llama: SimpleNamespace, model: nn.Module) -> float:
    return float(sequence_losses(model, llama.heldout).mean())


def test_effects_of_groups_are_those_of_the_changed_parameters(llama: SimpleNamespace) -> None:
    end, count = updated(llama), 0
    final = value(llama, end)
    for row in llama.rows:
        if row.intervention != "reset, one update":
            continue
        changed, start = copy.deepcopy(end), dict(llama.model.named_parameters())
        named = dict(changed.named_parameters())
        with torch.no_grad():
            for piece in llama.parts[row.kind][row.group].pieces:
                piece.of(named[piece.name]).copy_(piece.of(start[piece.name]))
        assert row.measured == pytest.approx(value(llama, changed) - final, abs=1e-11)
        count += 1
    assert count == sum(map(len, llama.parts.values()))


def test_predictions_are_the_scores_of_the_update(llama: SimpleNamespace) -> None:
    explained = explain_update(
        llama.checkpoint, llama.model, sequence_losses, llama.train, llama.heldout, units=llama.units,
        relative_tolerance=1e-13, min_nodes=7, samples_per_pass=2,
    )  # fmt: skip
    by_term = {str(term): explained["score"].sel(term=term).values for term in explained["term"].values}
    by_term["all"] = explained["score"].sum("term").values
    for row in llama.rows:
        if row.kind in llama.parts:
            group = llama.parts[row.kind][row.group]
            assert row.predicted == pytest.approx(-by_term[row.term][group.units].sum(), abs=1e-12)
    # All layers together explain the whole change, with its sign turned.
    whole = sum(row.predicted for row in llama.rows if row.kind == "layer" and row.term == "all")
    assert whole == pytest.approx(-float(explained["change"]), rel=1e-9)


def test_languages_are_predicted_as_cross_influence_says_and_left_out_as_torch_does(
    llama: SimpleNamespace,
) -> None:
    explained = explain_update(
        llama.checkpoint, llama.model, sequence_losses, llama.train, llama.heldout,
        relative_tolerance=1e-13, min_nodes=7,
    )  # fmt: skip
    scores = cross_influence(
        llama.checkpoint, llama.model, sequence_losses, Parts(llama.train, llama.language),
        Parts(llama.heldout, torch.zeros(4, dtype=torch.int64)), dict.fromkeys(llama.units.names, 0),
        quadrature=(explained["node"].values.tolist(), explained["weight"].values.tolist()), memory_mb=10,
    ).scores  # fmt: skip
    final = value(llama, updated(llama))
    for index, name in enumerate(LANGUAGES):
        frozen, anew = (row for row in llama.rows if row.kind == "language" and row.group == name)
        assert (frozen.intervention, anew.intervention) == ("remove, one update", "leave out")
        assert frozen.size == anew.size == int((llama.language == index).sum())
        for row in (frozen, anew):
            assert row.predicted == pytest.approx(-float(scores[index].sum()), rel=1e-6)
        assert anew.measured == pytest.approx(value(llama, updated(llama, without=index)) - final, abs=1e-9)
        assert abs(anew.measured - frozen.measured) > 1e-6, "P and the clipping are made anew"


def test_the_update_made_from_the_languages_is_the_same(llama: SimpleNamespace) -> None:
    (control,) = (row for row in llama.rows if row.intervention == "none")
    assert abs(control.measured) < 1e-12 and control.size == 0
