"""Networks that start with layers of a run: against a loop written out, refused before training, and ended together."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from benchmarks.transplanting import as_a_batch, difference, one_by_one
from explaind.config import compose
from explaind.config.studies import PHASES
from explaind.errors import ConfigError
from explaind.experiments.build import load
from explaind.experiments.runs import open_run
from explaind.stages import phases
from explaind.studies import transplant
from explaind.studies.generalization import mean_curve, outcomes
from explaind.training.phases import step_of
from tests.experiments.fake_images import recorded

INNER = ["att. encoder", "linear 1"]
PREFIXES = ("encoders.", "linear1.")  # of their parameters
PLACES = {"steps": 20, "memorization_step": 5, "generalization_step": 14, "windows": {"late": [12, 18]}}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("run")
    config = compose(
        "grokking", "smoke", ["train.max_steps=12", "train.stop_accuracy=null", "train.seeds=[3]"]
    )
    run = recorded(config, folder)
    config["study"]["windows"]["positions"], config["study"]["windows"]["reference_stop"] = {"late": 5}, 12
    phases.write(config, summary=folder / "run.json", output=folder / "phases.json")
    config["study"]["transplant"] |= {
        "layers": {"inner": INNER, "nothing": []},
        "updates": 7,
        "evaluate_every": 3,
    }
    return SimpleNamespace(config=config, run=run, phases=folder / "phases.json", folder=folder)


def trained(made: SimpleNamespace, output: Path, checkpoint: str = "late", **options: Any) -> pd.DataFrame:
    config = copy.deepcopy(made.config)
    config["study"]["transplant"] |= options
    arguments = {"trajectory": made.run, "phases": made.phases, "combination": "inner"}
    transplant.write(config, **arguments, checkpoint=checkpoint, output=output)
    return pd.read_csv(output)


@pytest.mark.parametrize("frozen", [False, True])
def test_training_is_that_of_the_run_from_moved_layers(
    made: SimpleNamespace, tmp_path: Path, frozen: bool
) -> None:
    """Against a loop written out, from the recorded θ_5 by the names of parameters."""
    table = trained(made, tmp_path / "t.csv", frozen=frozen)
    assert tuple(table.columns) == transplant.COLUMNS
    assert (table.checkpoint_step == 5).all() and table.seed.unique().tolist() == [101, 102]
    run, experiment = open_run(made.run)
    donor = run.layout.unflatten(run.parameters(5))
    options = made.config["optimizer"]
    for seed, rows in table.groupby("seed"):
        assert rows["update"].tolist() == [0, 3, 6, 7]
        model = experiment.make_model(int(seed))
        chosen = [name for name, _ in model.named_parameters() if name.startswith(PREFIXES)]
        model.load_state_dict({name: donor[name] for name in chosen}, strict=False)
        moving = [p for name, p in model.named_parameters() if not (frozen and name in chosen)]
        optimizer = torch.optim.AdamW(
            moving, lr=options["lr"], weight_decay=options["weight_decay"], betas=(0.9, 0.98), eps=1e-8
        )
        expected = []
        for _ in range(8):
            row = []
            for inputs, labels in (experiment.train, experiment.test):
                outputs = model(inputs)
                row += [
                    outputs[range(len(labels)), labels].mean().neg(),
                    (outputs.argmax(1) == labels).double().mean(),
                ]
            expected.append([value.item() for value in row])
            optimizer.zero_grad()
            row[0].backward()
            optimizer.step()
        found = rows[["train_loss", "train_accuracy", "test_loss", "test_accuracy"]].to_numpy()
        np.testing.assert_allclose(found, np.array(expected)[[0, 3, 6, 7]], rtol=2e-5)
        if frozen:
            assert all(torch.equal(model.get_parameter(name), donor[name]) for name in chosen)


def test_the_control_is_a_new_network(made: SimpleNamespace, tmp_path: Path) -> None:
    run, experiment = open_run(made.run)
    options = made.config["study"]["transplant"]
    nothing = transplant.curves(run, experiment, options, layers=[], step=5)
    new = experiment.make_model(101)(experiment.train[0])
    assert nothing.train_loss[0] == pytest.approx(experiment.loss(new, experiment.train[1]).item(), rel=1e-6)
    assert nothing.train_loss[0] != trained(made, tmp_path / "t.csv").train_loss[0]


def test_training_repeats_itself(made: SimpleNamespace, tmp_path: Path) -> None:
    for name in ("one", "two"):
        trained(made, tmp_path / f"{name}.csv")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


@pytest.mark.parametrize(("late", "ends"), [(11, 18), (12, 18), (54, 60), (99, 61)])
def test_all_seeds_end_once_the_last_has_settled(
    made: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, late: int, ends: int
) -> None:
    """Seed 101 generalises at update 4 alone, seed 102 from `late` on; both are evaluated at even updates, and at the last."""

    def scripted(network, optimizer, training):
        for update in range(training["max_steps"] + 1):
            right = update == 4 if network.seed == 101 else update >= late
            yield update, 1.0, 0.5, 1.0, 0.96 if right else 0.95

    monkeypatch.setattr(transplant, "train_unrecorded", scripted)
    run, experiment = open_run(made.run)
    options = {**made.config["study"]["transplant"], "updates": 61, "evaluate_every": 2, "settle": 6}
    table = transplant.curves(run, experiment, options, layers=INNER, step=12)
    expected = [*range(0, 61, 2), 61][: ends // 2 + 1 + (ends == 61)]
    for seed in (101, 102):
        assert table["update"][table.seed == seed].tolist() == expected


def test_batched_networks_train_as_single_ones() -> None:
    """What the benchmark compares is the same training, up to the rounding of float32."""
    config = compose("grokking", "smoke", [])
    experiment = load(config, seed=1)
    (single, alone), (batched, together) = (
        make(config, experiment, (101, 102)) for make in (one_by_one, as_a_batch)
    )
    before = alone()
    for _ in range(3):
        single()
        batched()
    assert difference(alone(), together()) < 1e-5 < 1e-2 < difference(before, alone())


def test_steps_of_named_checkpoints() -> None:
    assert [step_of(name, PLACES) for name in (*PHASES, "late", "0", "20")] == [5, 9, 14, 20, 12, 0, 20]


@pytest.mark.parametrize(
    ("checkpoint", "change", "says"),
    [
        ("21", {}, "no checkpoint '21'. Expected: a step from 0 to 20"),
        (
            "later",
            {},
            "No checkpoint is called 'later'. Expected: memorization, transition, generalization, final, late",
        ),
        ("generalization", {"generalization_step": None}, "Got: a phase that it did not reach"),
        ("transition", {"memorization_step": None}, "Got: a phase that it did not reach"),
    ],
)
def test_checkpoints_that_a_run_does_not_have(checkpoint: str, change: dict, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        step_of(checkpoint, PLACES | change)
    assert says in str(caught.value) and "Remedy:" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "checkpoint", "says"),
    [
        (
            {"layers": {"inner": ["attention"]}},
            "late",
            "no layer called 'attention'. Expected: layers among embedding",
        ),
        ({}, "13", "no checkpoint '13'"),
        ({"seeds": [101, 3]}, "late", "Seed 3 is the explained run's own"),
    ],
)
def test_what_cannot_be_moved_is_refused_before_training(
    made: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict,
    checkpoint: str,
    says: str,
) -> None:
    monkeypatch.setattr(transplant, "train_unrecorded", lambda *_: pytest.fail("it trained"))
    with pytest.raises(ConfigError) as caught:
        trained(made, tmp_path / "t.csv", checkpoint, **options)
    assert says in str(caught.value) and not (tmp_path / "t.csv").exists()


def test_outcomes_of_each_seed() -> None:
    rows = [
        ("a", "final", 9, seed, update, 0.0, train, 0.0, test)
        for seed, curve in {
            1: [(0.1, 0.0), (0.995, 0.2), (1.0, 0.96)],
            2: [(0.1, 0.05), (0.99, 0.95), (0.9, 0.9)],
        }.items()
        for update, (train, test) in zip((0, 5, 10), curve, strict=True)
    ]
    table = outcomes(pd.DataFrame(rows, columns=transplant.COLUMNS), 0.99, 0.95)
    assert table.memorized_at.tolist() == [5, pd.NA] and table.generalized_at.tolist() == [10, pd.NA]
    assert table.updates.tolist() == [10, 10] and table.test_accuracy.tolist() == [0.96, 0.9]
    assert table.largest_gap.tolist() == pytest.approx([0.795, 0.05])


def test_the_interval_of_a_mean_is_students() -> None:
    values = [0.5, 0.6, 0.75]
    part = pd.DataFrame({"seed": [1, 2, 3], "update": 0, "share": values})
    row = mean_curve(part, "share").iloc[0]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (row["mean"], row.low, row.high) == pytest.approx((np.mean(values), *expected))
    assert mean_curve(part.assign(share=[0.0, 0.9, 1.0]), "share").high.iloc[0] == 1
