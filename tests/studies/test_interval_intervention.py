"""Interventions on an interval of a language model's run: exact for a linear loss, and trained anew as a plain loop trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from explaind.checkpoints import open_checkpoint
from explaind.errors import TrainingError
from explaind.experiments.eurollm.model import LLAMA, make_llama, sequence_losses
from explaind.experiments.language.pretraining import Pretraining, load
from explaind.studies.interval_intervention import act_on_interval
from explaind.studies.repeated_interval import Interval
from explaind.studies.unit_parts import UnitGroup, unit_parts
from explaind.training.pretraining import Trainer
from explaind.training.reproducible import reproducible
from explaind.training.schedule import learning_rate
from tests.studies.test_update_intervention import NAMES
from tests.updates.small_run import configuration, write_tokens

FIRST, STOP = 2, 5


def linear(model: nn.Module, samples: Tensor) -> Tensor:
    """A loss without curvature that differs between samples."""
    phase = samples[:, :1].double()
    parts = [
        (torch.cos(phase * (1 + torch.arange(p.numel()))) * p.flatten()).sum(1) for p in model.parameters()
    ]
    return torch.stack(parts).sum(0)


def started(
    tmp_path: Path, losses: Callable[[nn.Module, Tensor], Tensor]
) -> tuple[dict[str, Any], Pretraining, Any]:
    """A run in float64 after two updates, as a checkpoint in memory."""
    config = configuration(
        "optimizer.lr=0.01", "study.proportionality.tolerance=1e-10", "study.proportionality.max_nodes=63",
        "study.proportionality.retrained_terms=[all,batch,momentum,regularization]",
    )  # fmt: skip
    architecture = replace(LLAMA, make=lambda shape: make_llama(shape).double(), losses=losses)
    experiment = replace(load(config, write_tokens(tmp_path / "tokens.zarr")), architecture=architecture)
    trainer = Trainer(config, experiment)
    for _ in range(FIRST):
        trainer.step()
    state = trainer.state()
    state.config = experiment.config
    return config, experiment, state


def acted(
    config: dict[str, Any], experiment: Pretraining, state: Any
) -> tuple[list[SimpleNamespace], dict[str, dict[str, UnitGroup]]]:
    units = experiment.architecture.units(state)
    shapes = {name: state.shape(name) for name in units.names}
    parts = {kind: unit_parts(kind, units, shapes) for kind in ("component", "layer", "head", "tensor")}
    interval = Interval(config, experiment, state, STOP)
    heldout, _ = experiment.heldout(2)
    rows = act_on_interval(interval, None, heldout, parts)
    return [SimpleNamespace(**dict(zip(NAMES, row, strict=True))) for row in rows], parts


def test_the_frozen_path_is_exact_for_a_linear_loss(tmp_path: Path) -> None:
    with reproducible(1):
        rows, parts = acted(*started(tmp_path, linear))
    for row in rows:
        if row.intervention == "none":
            assert row.measured == 0, "the same updates, bit for bit"
        elif row.intervention in ("reset", "remove, frozen path"):
            assert row.measured == pytest.approx(row.predicted, rel=1e-9, abs=1e-10), row
            assert row.local == pytest.approx(row.measured, rel=1e-9, abs=1e-10)
        elif row.term == "all":
            # Gradients do not depend on the parameters: a group that is held back leaves the others as they were, but for the
            # clipping, which a linear loss does not change either.
            assert row.measured == pytest.approx(row.predicted, rel=1e-9, abs=1e-10)
    assert sum(row.intervention == "reset" for row in rows) == sum(map(len, parts.values()))
    assert {row.term for row in rows if row.intervention == "remove, retrained"} == {
        "all", "batch", "momentum", "regularization",
    }  # fmt: skip


def test_predictions_are_summed_scores_and_effects_those_of_the_changed_parameters(tmp_path: Path) -> None:
    with reproducible(1):
        config, experiment, state = started(tmp_path, sequence_losses)
        rows, parts = acted(config, experiment, state)
        end = Trainer(config, experiment, state)
        while end.done < STOP:
            end.step()
    heldout, _ = experiment.heldout(2)

    @torch.no_grad()
    def value(model: nn.Module) -> float:
        return float(sequence_losses(model, heldout).mean())

    final, first = value(end.model), value(_at(experiment, state))
    layers = [row for row in rows if row.kind == "layer" and row.intervention == "reset"]
    assert sum(row.predicted for row in layers) == pytest.approx(first - final, rel=1e-5), "completeness"
    for row in layers:
        by_term = [
            one.predicted for one in rows
            if (one.kind, one.group) == ("layer", row.group) and one.intervention == "remove, frozen path"
        ]  # fmt: skip
        assert sum(by_term) == pytest.approx(row.predicted, abs=1e-12)
    for row in rows:
        if row.intervention == "reset":
            model = _at(experiment, state)
            start = {name: p.detach().clone() for name, p in model.named_parameters()}
            model.load_state_dict(end.model.state_dict())
            with torch.no_grad():
                for piece in parts[row.kind][row.group].pieces:
                    piece.of(dict(model.named_parameters())[piece.name]).copy_(piece.of(start[piece.name]))
            assert row.measured == pytest.approx(value(model) - final, abs=1e-11)


@pytest.mark.parametrize("term", ["all", "batch", "momentum", "regularization"])
def test_an_interval_without_a_term_is_trained_as_a_plain_loop_trains_it(term: str, tmp_path: Path) -> None:
    """Textbook AdamW with Megatron's decay; one term is left out in two heads, and enters the moments all the same."""
    with reproducible(1):
        config, experiment, state = started(tmp_path, sequence_losses)
        units = experiment.architecture.units(state)
        group = unit_parts("head", units, {name: state.shape(name) for name in units.names})[
            "layer 1, head 1 of 2"
        ]
        interval = Interval(config, experiment, state, STOP)
        found = dict(interval.trained(term, group).model.named_parameters())
        whole = dict(interval.trained().model.named_parameters())
        batches = Trainer(config, experiment, state)
        model = _at(experiment, state)
        named = dict(model.named_parameters())
        options = config["optimizer"]
        (beta1, beta2), eps = options["betas"], options["eps"]
        m = {name: state.exp_avg(name) for name in named}
        v = {name: state.exp_avg_sq(name) for name in named}
        for step in range(FIRST, STOP):
            model.zero_grad()
            sequence_losses(model, batches.batch(step)[0]).mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), config["train"]["clip_norm"])
            lr, t = learning_rate(config, step), step + 1
            for name, p in named.items():
                g = p.grad
                v[name] = beta2 * v[name] + (1 - beta2) * g**2
                scale = lr / (1 - beta1**t) / ((v[name] / (1 - beta2**t)).sqrt() + eps)
                parts = {
                    "batch": scale * (1 - beta1) * g,
                    "momentum": scale * beta1 * m[name],
                    "regularization": lr * (options["weight_decay"] if p.dim() > 1 else 0.0) * p.detach(),
                }
                m[name] = beta1 * m[name] + (1 - beta1) * g
                with torch.no_grad():
                    p.sub_(sum(parts.values()))
                    left_out = sum(parts.values()) if term == "all" else parts[term]
                    for piece in group.pieces:
                        if piece.name == name:
                            piece.of(p).add_(piece.of(left_out))
    for name, p in named.items():
        torch.testing.assert_close(found[name], p, atol=1e-11, rtol=0)
    assert max(float((found[name] - whole[name]).detach().abs().max()) for name in named) > 1e-5


def test_an_interval_that_does_not_repeat_is_refused(tmp_path: Path) -> None:
    with reproducible(1):
        config = configuration("optimizer.lr=0.01")
        experiment = load(config, write_tokens(tmp_path / "tokens.zarr"))
        trainer = Trainer(config, experiment)
        for name in ("first", "second"):
            trainer.step()
            trainer.step()
            trainer.save(tmp_path / name)
        first, second = (open_checkpoint(tmp_path / name) for name in ("first", "second"))
        units = experiment.architecture.units(first)
        parts = {"layer": unit_parts("layer", units, {name: first.shape(name) for name in units.names})}
        config["study"]["proportionality"]["retrained"] = {}
        heldout, _ = experiment.heldout(2)
        rows = list(act_on_interval(Interval(config, experiment, first, 4), second, heldout, parts))
        assert len(rows) == 4 * 4 + 1
        other = replace(experiment, seed=7)  # other batches
        with pytest.raises(TrainingError, match="repeated, end elsewhere.*at most 10%"):
            list(act_on_interval(Interval(config, other, first, 4), second, heldout, parts))


def _at(experiment: Pretraining, state: Any) -> nn.Module:
    model = experiment.make_model()
    state.load_weights(model)
    return model
