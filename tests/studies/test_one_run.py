"""One run decomposed: single predictions by training samples, and all of them by some of the updates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import explaind
from explaind.experiments.build import load
from explaind.recording import Trajectory
from explaind.store import read_dataset
from explaind.studies import attribution, contributions, sparse
from tests.experiments.fake_images import configured, recorded, write_images


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """(configuration, recorded run) with AdamW."""
    folder = tmp_path_factory.mktemp("ordinary")
    data = write_images(folder / "data.zarr", "mnist")
    config = configured("mnist", data, "influence.tests=12", "influence.tolerance=1e-3")
    config["study"]["sparse"] = {"shares": [1.0, 0.34, 0.67], "orders": 2, "seed": 0}
    return config, recorded(config, folder)


def test_parts_of_a_prediction_add_up(ordinary: tuple, tmp_path: Path) -> None:
    config, run = ordinary
    config["study"]["examples"] = {"tests": 3, "top": 4}
    attribution.write(config, trajectory=run, output=tmp_path / "attribution.zarr")
    stores = {"trajectory": run, "attribution": tmp_path / "attribution.zarr"}
    contributions.write(config, **stores, output=tmp_path / "parts.csv")
    table, experiment = pd.read_csv(tmp_path / "parts.csv"), load(config, seed=0)
    assert tuple(table.columns) == contributions.COLUMNS
    assert table.test.nunique() == 3
    own = read_dataset(tmp_path / "attribution.zarr", kind="attribution")
    for test, rows in table.groupby("test"):
        label = int(experiment.test[1][test])
        assert (rows.label == label).all()
        assert (rows.predicted == int(own.final.values[test].argmax())).all()
        scores = own.kernel.values[:, test, label]
        single, parts = rows[rows.train.notna()], rows.groupby("part").score.sum()
        assert single["rank"].tolist() == [1, 2, 3, 4] * 2
        for row in single.itertuples():
            assert row.score == pytest.approx(float(scores[int(row.train)]))
            assert row.train_label == int(experiment.train[1][int(row.train)])
        order = np.argsort(scores, kind="stable")
        assert set(single[single.part == "helpful"].train) == set(order[-4:])
        assert single[single.part == "harmful"].train.tolist() == order[:4].tolist()
        assert parts["final"] == pytest.approx(float(own.final.values[test, label]))
        assert parts.drop("final").sum() == pytest.approx(parts["final"], abs=1e-6)


def test_all_steps_rebuild_the_predictions_and_some_do_not(ordinary: tuple, tmp_path: Path) -> None:
    config, run = ordinary
    sparse.write(config, trajectory=run, output=tmp_path / "sparse.csv")
    table = pd.read_csv(tmp_path / "sparse.csv")
    assert tuple(table.columns) == sparse.COLUMNS
    assert len(table) == (1 + 1 + 2) * 3
    assert set(table.ranking) == set(sparse.RANKINGS)
    assert sorted(set(zip(table.share, table.steps, strict=True))) == [(0.34, 2), (0.67, 4), (1.0, 6)]
    whole, some = table[table.share == 1.0], table[table.share < 1.0]
    assert (whole.agreement == 1).all()
    assert (whole.max_error < 6 * 1e-3).all(), "the tolerance, for each of six updates"
    assert (whole.kl < 1e-4).all()
    assert (some.max_error > 0.01).all()
    assert (some.kl > 1e-4).all()


def test_kept_steps_are_added_to_the_initial_prediction(ordinary: tuple, tmp_path: Path) -> None:
    config, run = ordinary
    sparse.write(config, trajectory=run, output=tmp_path / "sparse.csv")
    table = pd.read_csv(tmp_path / "sparse.csv").query("share == 0.34").set_index("ranking")
    experiment = load(config, seed=0)
    scores = explaind.influence(
        run, experiment.model, test=experiment.test[0][:12], keep=("step", "test", "output"), tolerance=1e-3
    )
    each = (scores.kernel + scores.regularization).values
    changes = sparse.heldout_changes(Trajectory(run), experiment)
    for ranking, sizes in (("held-out loss", abs(changes)), ("contribution", abs(each).sum((1, 2)))):
        kept = np.argsort(-sizes)[:2]
        rebuilt = scores.initial.values + each[kept].sum(0)
        error = abs(rebuilt - scores.final.values).max()
        assert table.max_error[ranking] == pytest.approx(float(error), rel=1e-4)


def test_heldout_changes_add_up_to_that_of_the_run(ordinary: tuple) -> None:
    config, path = ordinary
    run, experiment = Trajectory(path), load(config, seed=0)
    inputs, targets = experiment.heldout

    def loss(step: int) -> float:
        theta = run.layout.unflatten(run.parameters(step))
        outputs = torch.func.functional_call(experiment.model, theta, (inputs,))
        return torch.nn.functional.nll_loss(outputs, targets).item()

    changes = sparse.heldout_changes(run, experiment)
    assert changes.shape == (6,)
    assert changes.sum() == pytest.approx(loss(6) - loss(0), abs=1e-6)
    assert changes[2] == pytest.approx(loss(3) - loss(2), abs=1e-6)
