"""Layers of the last checkpoint in earlier ones: predictions, intervals, and errors by label difference, each by definition."""

from __future__ import annotations

import cmath
import copy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from explaind.config import compose
from explaind.errors import ConfigError
from explaind.experiments.runs import open_run
from explaind.stages import phases
from explaind.store import read_dataset
from explaind.studies import swap
from explaind.studies.label_differences import cyclic_error, difference_counts, differences, frequency
from explaind.tables import swap_errors
from tests.experiments.fake_images import recorded

OVERRIDES = ["train.max_steps=12", "train.stop_accuracy=null", "train.seeds=[3]"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("run")
    config = compose("grokking", "smoke", OVERRIDES)
    run = recorded(config, folder)
    config["study"]["windows"]["positions"], config["study"]["windows"]["reference_stop"] = {"late": 5}, 12
    phases.write(config, summary=folder / "run.json", output=folder / "phases.json")
    config["study"]["swap"] |= {"stride": 4, "shown": ["late", "7"]}
    outputs = {"output": folder / "swap.zarr", "curves": folder / "swap.csv"}
    swap.write(config, trajectory=run, phases=folder / "phases.json", **outputs)
    return SimpleNamespace(config=config, run=run, phases=folder / "phases.json", **outputs)


def test_predictions_are_those_of_the_mixed_parameters(made: SimpleNamespace) -> None:
    result = read_dataset(made.output, kind="swap")
    assert result.step.values.tolist() == [0, 4, 5, 7, 8, 12] and result.attrs["shown"] == {"late": 5, "7": 7}
    run, experiment = open_run(made.run)
    prefixes = {
        "original": ("none",),
        "outer": ("embedding.", "linear2.", "decoder."),
        "embedding": ("embedding.",),
    }
    differs = False
    for step in result.step.values.tolist():
        early, late = (run.layout.unflatten(run.parameters(s).clone()) for s in (step, run.n_steps))
        for name, chosen in prefixes.items():
            mixed = {key: (late if key.startswith(chosen) else early)[key] for key in early}
            outputs = torch.func.functional_call(experiment.model, mixed, (experiment.test[0],))
            found = result["predicted"].sel(combination=name, step=step).values
            np.testing.assert_array_equal(found, outputs.argmax(1).numpy())
            differs |= bool(
                (found != result["predicted"].sel(combination="original", step=step).values).any()
            )
    assert differs


def test_at_the_last_checkpoint_nothing_changes(made: SimpleNamespace) -> None:
    table = pd.read_csv(made.curves)
    assert tuple(table.columns) == swap.CURVES
    last = table[table.step == 12]
    assert len(last) == 5 and (last[["difference", "low", "high"]] == 0).all(axis=None)
    assert (table.difference != 0).any()
    assert ((table.low <= table.difference) & (table.difference <= table.high)).all()


def test_intervals_are_those_of_tests_drawn_again(made: SimpleNamespace) -> None:
    """Against lists of tests, written out draw by draw."""
    result = read_dataset(made.output, kind="swap")
    weights = swap.draws(30, 50, made.config["study"]["swap"]["seed"])
    assert (weights.sum(1) == 30).all() and len(np.unique(weights)) > 3
    right = {
        name: (result["predicted"].sel(combination=name, step=7) == result["labels"]).values
        for name in ("original", "outer")
    }
    changes = []
    for row in weights:
        drawn = np.repeat(np.arange(30), row.astype(int))
        changes.append(right["outer"][drawn].mean() - right["original"][drawn].mean())
    table = swap.accuracies(result, 50, made.config["study"]["swap"]["seed"])
    found = table[(table.step == 7) & (table.combination == "outer")].iloc[0]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(changes, [0.025, 0.975])))


def test_layers_and_checkpoints_that_are_not_there(made: SimpleNamespace, tmp_path: Path) -> None:
    for key, value, says in (
        ("transplant", {"layers": {"outer": ["attention"]}}, "no layer called 'attention'"),
        ("swap", {"shown": ["late", "13"]}, "no checkpoint '13'"),
    ):
        config = copy.deepcopy(made.config)
        config["study"][key] |= value
        with pytest.raises(ConfigError, match=says):
            swap.write(
                config, trajectory=made.run, phases=made.phases, output=tmp_path / "s", curves=tmp_path / "c"
            )
    assert not list(tmp_path.iterdir())


def test_label_differences() -> None:
    found = differences(np.array([3, 2, 0, 11, 12], dtype=np.int16), np.array([3, 3, 11, 0, 0]), 12)
    assert found.tolist() == [0, 11, 1, 11, 12], "12 is no label"
    assert difference_counts(found, 12).tolist() == [1, 1, *[0] * 9, 2, 1]


@pytest.mark.parametrize(
    ("wrong", "amount", "share"),
    [
        ([3, 6, 9] * 4, 12 / 48, 1),  # where cos(2π·4d/12) = 1
        (list(range(1, 12)), 1 / 48, 1 / 11),  # evenly over all differences: Σ exp = −1
        ([3, 6, 9, 12], 3 / 48, 1),  # one prediction is no label
    ],
)
def test_cyclic_errors(wrong: list[int], amount: float, share: float) -> None:
    one = np.array(wrong + [0] * (48 - len(wrong)))
    weights = swap.draws(48, 40, 1)
    absolute, relative = cyclic_error(one, one, 12, weights)
    assert absolute[1:] == pytest.approx((amount, amount, 0, 0, 0))
    assert relative.original == pytest.approx(share)
    absolute, relative = cyclic_error(one, np.zeros(48, dtype=int), 12, weights)
    assert (absolute.swapped, absolute.change) == pytest.approx((0, -amount))
    assert np.isnan(relative.swapped) and np.isnan(relative.low), "no errors, hence no share of them"
    assert absolute.low < -amount < absolute.high <= 0


def test_the_frequency_is_that_of_all_errors() -> None:
    few, many = (np.random.default_rng(seed).integers(0, 40 * seed, size=14) for seed in (1, 3))

    def largest(*counts: np.ndarray) -> int:
        def size(k: int) -> float:
            return abs(
                sum(n[d] * cmath.exp(2j * cmath.pi * k * d / 13) for n in counts for d in range(1, 13))
            )

        return max(range(1, 7), key=size)

    assert len({largest(few), largest(many)}) == 2, "they differ"
    assert frequency(few) == largest(few) and frequency(few, many) == largest(few, many)


def test_the_table_counts_every_difference(made: SimpleNamespace, tmp_path: Path) -> None:
    swap_errors.write(made.config, swap=made.output, output=tmp_path / "e.csv", cyclic=tmp_path / "c.csv")
    table, cyclic = pd.read_csv(tmp_path / "e.csv"), pd.read_csv(tmp_path / "c.csv")
    result = read_dataset(made.output, kind="swap")
    for name, step in (("late", 5), ("7", 7)):
        rows = table[table.checkpoint.astype(str) == name].set_index("difference")
        assert len(rows) == 13 and (rows.step == step).all()
        for column, combination in (("original_errors", "original"), ("swapped_errors", "outer")):
            predicted = result["predicted"].sel(combination=combination, step=step).values.tolist()
            expected = dict.fromkeys([*map(str, range(1, 13)), "none"], 0)
            for guess, label in zip(predicted, result["labels"].values.tolist(), strict=True):
                if guess != label:
                    expected["none" if guess > 12 else str((guess - label) % 13)] += 1
            assert rows[column].to_dict() == expected
        shares = cyclic[cyclic.checkpoint.astype(str) == name].set_index("measure")
        assert shares.original["errors"] == pytest.approx(rows.original_errors.sum() / 30)
        assert shares.change["errors"] == pytest.approx(rows.change.sum())
        assert 0 < shares.original["cyclic errors"] <= shares.original["errors"]
