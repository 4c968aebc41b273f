"""Groups of a language model's units: which parameters they are, how they are drawn, and what is refused at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from explaind.checkpoints import open_checkpoint
from explaind.config import compose
from explaind.config.jobs import JOBS
from explaind.config.studies import TAKEN, UNIT_KINDS
from explaind.errors import ConfigError
from explaind.experiments.language.pretraining import load
from explaind.features.units import make_units
from explaind.studies import interval_intervention, update_intervention
from explaind.studies.unit_parts import choose_parts, is_decayed, unit_parts
from explaind.training.pretraining import Trainer
from explaind.training.reproducible import reproducible
from explaind.updates.terms import TERMS
from tests.updates.small_run import configuration, write_tokens
from tests.updates.tiny import make, units_of

OPTIONS: dict[str, Any] = {"kinds": list(UNIT_KINDS), "groups": 5, "seed": 3}


@pytest.fixture
def shapes() -> tuple[Any, Any, dict[str, tuple[int, ...]]]:
    checkpoint, model, _ = make()
    return checkpoint, units_of(model), {name: tuple(p.shape) for name, p in model.named_parameters()}


@pytest.mark.parametrize("kind", UNIT_KINDS)
def test_groups_are_disjoint_and_all_but_heads_cover_the_model(kind: str, shapes: Any) -> None:
    _, units, sizes = shapes
    entries = {name: torch.zeros(shape, dtype=torch.int64) for name, shape in sizes.items()}
    seen = torch.zeros(units.size, dtype=torch.int64)
    for group in unit_parts(kind, units, sizes).values():
        seen[group.units] += 1
        for piece in group.pieces:
            piece.of(entries[piece.name]).add_(1)
    covered = {name: kind != "head" or "self_attn" in name for name in sizes}
    for name, count in entries.items():
        assert (count == int(covered[name])).all(), name
        assert (seen[units.slices[name]] == int(covered[name])).all(), name


def test_groups_are_what_their_names_say(shapes: Any) -> None:
    _, units, sizes = shapes
    components = unit_parts("component", units, sizes)
    assert list(components)[:4] == [
        "input embedding, input", "attention, layer 1", "MLP, layer 1", "norms, layer 1",
    ]  # fmt: skip
    assert list(components)[-2:] == ["norms, output", "output embedding, output"]
    assert list(unit_parts("layer", units, sizes)) == ["input", "layer 1", "layer 2", "output"]
    heads = unit_parts("head", units, sizes)
    assert len(heads) == 2 * (4 + 2)  # query heads, and the key-value heads that they share
    prefix = "model.layers.0.self_attn"
    query = {piece.name: piece for piece in heads["layer 1, head 2 of 4"].pieces}
    assert set(query) == {f"{prefix}.q_proj.weight", f"{prefix}.o_proj.weight"}
    rows = torch.arange(16)[:, None].expand(16, 16)
    assert query[f"{prefix}.q_proj.weight"].of(rows).unique().tolist() == [8, 9, 10, 11]
    assert query[f"{prefix}.o_proj.weight"].of(rows.T).unique().tolist() == [8, 9, 10, 11]
    key = {piece.name for piece in heads["layer 1, head 1 of 2"].pieces}
    assert key == {f"{prefix}.k_proj.weight", f"{prefix}.v_proj.weight"}
    assert list(unit_parts("tensor", units, sizes)) == list(sizes)


def test_windows_draw_their_own_groups(shapes: Any) -> None:
    checkpoint, units, _ = shapes
    chosen = choose_parts(checkpoint, units, OPTIONS, 2)
    assert {kind: len(groups) for kind, groups in chosen.items()} == {
        "component": 5, "layer": 4, "head": 5, "tensor": 5,
    }  # fmt: skip
    again = choose_parts(checkpoint, units, OPTIONS, 2)
    assert [list(groups) for groups in again.values()] == [list(groups) for groups in chosen.values()]
    for group in chosen["tensor"].values():
        assert is_decayed(checkpoint, group), "five that every term moves come first"
    later, _, _ = make(updates=5)
    assert list(choose_parts(later, units, OPTIONS, 2)["tensor"]) != list(chosen["tensor"])


def test_the_words_of_options_are_those_of_updates() -> None:
    assert ("all", *TERMS) == TAKEN


def test_unknown_kinds_and_too_few_groups_are_refused(shapes: Any) -> None:
    checkpoint, units, sizes = shapes
    with pytest.raises(
        ConfigError, match="no groups of units called 'neuron'.*component, layer, head, tensor"
    ):
        unit_parts("neuron", units, sizes)
    with pytest.raises(ConfigError, match="divided into attention heads"):
        unit_parts("head", make_units(sizes), sizes)
    with pytest.raises(ConfigError, match="too few groups of the kind 'layer'.*at least 5.*4 in 1 windows"):
        choose_parts(checkpoint, units, {**OPTIONS, "kinds": ["layer"]}, 1)
    undecayed = tuple(name for name in units.names if "q_proj" not in name)
    checkpoint.hyperparameters = replace(checkpoint.hyperparameters, undecayed=undecayed)
    with pytest.raises(ConfigError, match="'tensor, without its regularization'.*2 in 1 windows"):
        choose_parts(checkpoint, units, {**OPTIONS, "kinds": ["tensor"]}, 1)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("study.proportionality.kinds=[layer,block]", "study.proportionality.kinds"),
        ("study.proportionality.kinds=[layer]", "study.proportionality.retrained.*kinds of"),
        ("study.proportionality.retrained.component=9", "at most study.proportionality.groups, 5"),
        ("study.proportionality.groups=4", "at least 5"),
        ("study.proportionality.stride=5", "at most 4, the checkpoints of the run"),
        ("study.proportionality.interval_stride=4", "at most 3, the checkpoints that have a next one"),
        ("study.proportionality.tests=3", "at most the 2 held-out sequences"),
        ("study.proportionality.updates=1", "at least 2"),
    ],
)
def test_bad_options_are_refused_before_anything_runs(override: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        compose("eurollm", "smoke", [override])


def test_checkpoints_are_chosen_by_strides() -> None:
    config = compose("eurollm", "smoke")
    for each, expected in (("acted_updates", [2, 6]), ("acted_intervals", [2, 6])):
        assert [job["checkpoint"] for job in JOBS[each](config)] == [f"step-{k:06d}" for k in expected]


@pytest.mark.parametrize("study", [update_intervention, interval_intervention])
def test_a_checkpoint_beyond_the_run_and_missing_text_are_refused(study: Any, tmp_path: Path) -> None:
    config, tokens = configuration(), write_tokens(tmp_path / "tokens.zarr")
    arguments = {"tokens": tokens, "checkpoints": tmp_path, "output": tmp_path / "rows.csv"}
    with pytest.raises(
        ConfigError, match="no interventions at the checkpoint step-000099.*step-000002, step-000006"
    ):
        study.write(config, checkpoint="step-000099", **arguments)
    with reproducible(1):
        trainer = Trainer(config, load(config, tokens))
        for name in ("step-000002", "step-000004"):
            trainer.step()
            trainer.step()
            trainer.save(tmp_path / name)
    assert open_checkpoint(tmp_path / "step-000002").hyperparameters.step == 2
    config["study"]["proportionality"]["tests"] = 3  # more than the text has
    with pytest.raises(ConfigError, match="too few held-out sequences.*at most 2"):
        study.write(config, checkpoint="step-000002", **arguments)
    assert not (tmp_path / "rows.csv").exists()
