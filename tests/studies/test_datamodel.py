"""Data-level studies: subsets, retrained models, what predicts them, and single predictions taken apart.

One run is trained with plain SGD in tiny steps. There, and only there, leaving a sample out has an effect
that its attribution must predict: this is the test that scores mean what they say.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
import xarray as xr

import explaind
from explaind.batches import Order
from explaind.errors import ConfigError
from explaind.experiments import load
from explaind.recording import Trajectory
from explaind.store import read_dataset, write_dataset
from explaind.studies import attribution, baselines, contributions, datamodel, sparse
from explaind.studies.datamodel import interval, rank_correlation
from explaind.studies.fidelity import fidelity
from explaind.studies.subsets import LEAVE_ONE_OUT, members, retrain
from explaind.train import record_run, select
from tests.experiments.fake_images import configured, write_images

LEFT_OUT, HALVES = 24, 12  # subsets that leave one out, and subsets of half the samples


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """On images this small, a second thread waits more than it works."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# Correlations.


@pytest.fixture
def scores() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """τ [N, T], subsets [M, size], measurements [M, T] that depend on τ, with ties."""
    generator = np.random.default_rng(0)
    tau = generator.normal(size=(30, 5))
    chosen = np.stack([generator.permutation(30)[:12] for _ in range(40)])
    measured = tau[chosen].sum(1) + 2 * generator.normal(size=(40, 5))
    return tau, chosen, np.round(measured)


def test_rank_correlation_is_spearmans_with_ties(scores: tuple) -> None:
    tau, chosen, measured = scores
    predicted = tau[chosen].sum(1)
    expected = [scipy.stats.spearmanr(predicted[:, i], measured[:, i]).statistic for i in range(5)]
    np.testing.assert_allclose(rank_correlation(predicted, measured), expected, rtol=1e-12)
    assert 0.3 < np.mean(expected) < 0.99
    np.testing.assert_allclose(rank_correlation(predicted, np.exp(predicted)), 1)
    np.testing.assert_allclose(rank_correlation(predicted, -predicted), -1)


def test_rank_correlation_is_the_librarys_lds(scores: tuple) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dattri.metric import lds

        tau, chosen, measured = scores
        expected, _ = lds(*map(torch.tensor, (tau,)), (torch.tensor(measured), torch.tensor(chosen)))
    np.testing.assert_allclose(rank_correlation(tau[chosen].sum(1), measured), expected.numpy(), rtol=1e-12)


def test_what_does_not_vary_has_no_correlation(scores: tuple) -> None:
    tau, chosen, measured = scores
    measured[:, 2] = 7.0
    found = rank_correlation(tau[chosen].sum(1), measured)
    assert np.isnan(found).tolist() == [False, False, True, False, False]


def test_the_interval_holds_the_mean_and_widens_with_fewer_subsets(scores: tuple) -> None:
    tau, chosen, measured = scores
    predicted = tau[chosen].sum(1)
    widths = []
    for count in (40, 20, 8):
        low, high = interval(predicted[:count], measured[:count], 300, 0)
        assert -1 <= low < rank_correlation(predicted[:count], measured[:count]).mean() < high <= 1
        widths.append(high - low)
    assert widths[0] < widths[1] < widths[2]
    assert interval(predicted, measured, 300, 0) == interval(predicted, measured, 300, 0)
    assert interval(predicted, predicted, 50, 0) == pytest.approx((1, 1))
    assert np.isnan(interval(predicted, None, 300, 0)).all()


# Subsets.


@pytest.mark.parametrize(("fraction", "size"), [("0.5", 48), ("0.25", 24), ("0.333", 32), ("0.001", 1)])
def test_subsets_have_their_size_and_differ(fraction: str, size: int) -> None:
    state = torch.get_rng_state()
    found = [members(96, fraction, number, 2025) for number in range(20)]
    assert torch.equal(torch.get_rng_state(), state)
    for chosen in found:
        assert len(chosen) == size
        assert torch.equal(chosen, torch.unique(chosen)), "rising, without repetition"
        assert 0 <= int(chosen.min()) <= int(chosen.max()) < 96
    if size > 1:
        assert len({tuple(chosen.tolist()) for chosen in found}) == 20


def test_a_subset_depends_on_its_number_fraction_and_seed_alone() -> None:
    found = {
        (fraction, number, seed): tuple(members(96, fraction, number, seed).tolist())
        for seed in (0, 1, 2025)
        for fraction in ("0.5", "0.25", "0.75")
        for number in (3, 0, 7)
    }
    assert len(set(found.values())) == 27
    for (fraction, number, seed), chosen in reversed(found.items()):
        assert tuple(members(96, fraction, number, seed).tolist()) == chosen
    assert tuple(members(96, "0.50", 3, 0).tolist()) == found["0.5", 3, 0]


def test_every_sample_is_in_about_as_many_subsets() -> None:
    counts = torch.zeros(40)
    for number in range(400):
        counts[members(40, "0.5", number, 1)] += 1
    assert 150 < int(counts.min()) <= int(counts.max()) < 250


def test_subsets_that_leave_one_out_leave_out_different_ones() -> None:
    missing = []
    for number in range(30):
        chosen = members(30, LEAVE_ONE_OUT, number, 5)
        assert len(chosen) == 29
        missing += sorted(set(range(30)) - set(chosen.tolist()))
    assert sorted(missing) == list(range(30))
    assert missing != sorted(missing), "drawn, not counted"
    with pytest.raises(ConfigError, match="fewer samples than subsets.*30 of 30"):
        members(30, LEAVE_ONE_OUT, 30, 5)


@pytest.mark.parametrize("fraction", ["0", "1", "1.5", "-0.5", "x", "nan", "", "leave-two-out"])
def test_other_fractions_are_refused(fraction: str) -> None:
    with pytest.raises(ConfigError, match="above 0 and below 1, or leave-one-out"):
        members(30, fraction, 0, 0)


# Small parts.


def test_identical_predictions_have_full_fidelity() -> None:
    outputs = np.log(np.random.default_rng(0).dirichlet(np.ones(4), size=6))
    assert fidelity(outputs, outputs) == {"agreement": 1.0, "kl": 0.0, "max_error": 0.0}


def test_fidelity_measures_each_difference() -> None:
    final = np.log(np.array([[0.5, 0.5], [0.9, 0.1]]))
    shifted = fidelity(final + 3, final)  # the same distributions
    assert shifted["agreement"] == 1
    assert shifted["kl"] == pytest.approx(0, abs=1e-12)
    assert shifted["max_error"] == pytest.approx(3)
    other = fidelity(np.log(np.array([[0.25, 0.75], [0.9, 0.1]])), final)
    assert other["agreement"] == 0.5
    assert other["kl"] == pytest.approx(scipy.stats.entropy([0.5, 0.5], [0.25, 0.75]) / 2)
    assert other["max_error"] == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("predicted", "count", "expected"),
    [
        ([0, 1, 9, 3, 9, 9], 4, [0, 1, 2, 4]),
        ([9, 9, 9, 3, 4, 5], 2, [0, 3]),
        ([0, 1, 2, 3, 4, 5], 4, [0, 1, 2, 3]),  # none is wrong
        ([0, 1, 9, 3, 4, 5], 5, [0, 1, 2, 3, 4]),  # one is
        ([0, 1, 2, 3, 4, 9], 1, [0]),
        ([0, 9, 9, 9, 9, 9], 3, [0, 1]),  # only one is right
    ],
)
def test_examples_are_half_right_and_half_wrong(
    predicted: list[int], count: int, expected: list[int]
) -> None:
    assert contributions.choose(np.arange(6), np.array(predicted), count) == expected


# A run in tiny steps, and the same run without some of its samples.


def recorded(config: dict[str, Any], folder: Path) -> Path:
    select(config, [], output=folder / "selection.json")
    record_run(
        config, folder / "selection.json",
        trajectory=folder / "run.zarr", summary=folder / "run.json", metrics=folder / "metrics.csv",
    )  # fmt: skip
    return folder / "run.zarr"


class Study:
    """One epoch on 96 images; its data-level scores; models retrained from seeds 0 (its own) and 1."""

    def __init__(self, folder: Path) -> None:
        data = write_images(folder / "data.zarr", "mnist")
        self.config = configured("mnist", data, "study.attribution.tolerance=1e-5")
        self.config["optimizer"] = {"name": "SGD", "lr": 1e-3, "momentum": 0.0, "weight_decay": 0.0}
        self.folder, self.run = folder, recorded(self.config, folder)
        self.experiment = load(self.config, seed=0)
        self.attribution = folder / "attribution.zarr"
        attribution.write(self.config, self.run, output=self.attribution)
        self.own = read_dataset(self.attribution, kind="attribution")
        self.labels = self.experiment.test[1][:12].numpy()
        self.tau = datamodel.score_of_attribution(self.own, self.labels)
        self.retrained = {
            name: self._retrain(*name)
            for name in ((LEAVE_ONE_OUT, 0, LEFT_OUT), ("0.5", 5, HALVES), ("0.5", 0, 5))
        }

    def _retrain(self, fraction: str, start: int, stop: int) -> Path:
        path = self.folder / f"{fraction}-{start}.zarr"
        retrain(self.config, fraction, start, stop, output=path)
        return path

    def likelihood(self, outputs: np.ndarray) -> np.ndarray:
        """log p of the true classes, from outputs [..., test, output]."""
        return outputs[..., np.arange(len(self.labels)), self.labels]

    def batch_of(self, k: int) -> list[int]:
        """The samples that were in the batch of sample k, without it."""
        order = Order(96, self.config["train"], 0)
        (batch,) = (part for part in (order(step)[0].tolist() for step in range(6)) if k in part)
        return [other for other in batch if other != k]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(tmp_path_factory.mktemp("study"))


def test_scores_of_a_run_are_complete(study: Study) -> None:
    own = study.own
    assert own.kernel.dims == ("train", "test", "output")
    assert own.kernel.shape == (96, 12, 10)
    total = own.initial + own.kernel.sum("train") + own.regularization + own.residual
    assert float(abs(total - own.final).max()) < 1e-6
    assert float(abs(own.residual).max()) < 0.05 * float(abs(own.final - own.initial).max())
    outputs = study.experiment.outputs(study.experiment.test[0][:12]).numpy()
    np.testing.assert_allclose(own.initial.values, outputs, atol=1e-5)
    np.testing.assert_array_equal(study.tau[7], study.likelihood(own.kernel.values[7]))
    assert own.attrs["seconds"] > 0


def test_leaving_a_sample_out_does_what_its_attribution_says(study: Study) -> None:
    """Its own part −τ_k is gone, and the rest of its batch takes over its weight: + mean of their τ."""
    models = read_dataset(study.retrained[LEAVE_ONE_OUT, 0, LEFT_OUT], kind="retrained")
    changed = study.likelihood(models["outputs"].sel(seed=0).values - study.own.final.values)
    predicted, alone = [], []
    for number in range(LEFT_OUT):
        (k,) = set(range(96)) - set(members(96, LEAVE_ONE_OUT, number, 2025).tolist())
        rest = study.batch_of(k)
        assert len(rest) == 15
        predicted.append(study.tau[rest].mean(0) - study.tau[k])
        alone.append(study.tau[(k + 1) % 96])
    predicted = np.array(predicted)
    assert abs(changed).max() > 5e-5, "an effect beyond the rounding of float32"
    assert np.corrcoef(predicted.ravel(), changed.ravel())[0, 1] > 0.98
    assert np.polyfit(predicted.ravel(), changed.ravel(), 1)[0] == pytest.approx(1, abs=0.1), (
        "and as much of it"
    )
    assert abs(np.corrcoef(np.ravel(alone), changed.ravel())[0, 1]) < 0.5, (
        "another sample's score says nothing"
    )


def test_a_retrained_model_is_trained_on_its_samples_alone(study: Study) -> None:
    models = read_dataset(study.retrained["0.5", 0, 5], kind="retrained")
    assert models["outputs"].dims == ("subset", "seed", "test", "output")
    assert models["outputs"].shape == (5, 2, 12, 10)
    assert models.seed.values.tolist() == [0, 1]
    assert models["steps"].values.tolist() == [3] * 5, "half the samples, half the updates"
    chosen = members(96, "0.5", 4, 2025)
    for seed in (0, 1):
        model = load(study.config, seed=seed).model
        order = Order(96, study.config["train"], seed, members=chosen)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        met = []
        for step in range(3):
            indices, _ = order(step)
            met += indices.tolist()
            optimizer.zero_grad()
            images, labels = (
                part[indices] for part in study.experiment.train
            )  # the samples of the explained run
            torch.nn.functional.nll_loss(model(images), labels).backward()
            optimizer.step()
        assert sorted(met) == chosen.tolist()
        with torch.no_grad():
            expected = model(study.experiment.test[0][:12])
        found = torch.tensor(models["outputs"].sel(subset=4, seed=seed).values)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_retraining_repeats_itself_in_any_pieces(study: Study, tmp_path: Path) -> None:
    retrain(study.config, "0.5", 3, 4, output=tmp_path / "again.zarr")
    again = read_dataset(tmp_path / "again.zarr", kind="retrained")
    before = read_dataset(study.retrained["0.5", 0, 5], kind="retrained")
    assert again.attrs["fraction"] == "0.5"
    np.testing.assert_array_equal(again["outputs"].values[0], before["outputs"].sel(subset=3).values)


def test_leaving_one_out_keeps_the_number_of_updates(study: Study) -> None:
    models = read_dataset(study.retrained[LEAVE_ONE_OUT, 0, LEFT_OUT], kind="retrained")
    assert models["steps"].values.tolist() == [6] * LEFT_OUT


def test_the_table_holds_the_scores_of_every_method(study: Study, tmp_path: Path) -> None:
    """Two methods besides: one that knows nothing, and the runs' own scores once more under another name."""
    noise = np.random.default_rng(0).normal(size=study.tau.shape).astype(np.float32)
    others = {"noise": noise, "twin": study.tau.astype(np.float32)}
    for name, values in others.items():
        dataset = xr.Dataset({"score": (("train", "test"), values)}, attrs={"method": name, "seconds": 2.5})
        write_dataset(dataset, tmp_path / f"{name}.zarr", kind="baseline")
    config = copy.deepcopy(study.config)
    config["study"]["datamodel"]["resamples"] = 60
    datamodel.write(
        config, study.run, study.attribution, [tmp_path / f"{name}.zarr" for name in others],
        list(study.retrained.values()), output=tmp_path / "table.csv",
    )  # fmt: skip
    table = pd.read_csv(tmp_path / "table.csv")
    assert tuple(table.columns) == datamodel.COLUMNS
    assert table.fraction.tolist() == ["0.5"] * 3 + [LEAVE_ONE_OUT] * 3
    assert table.method.tolist() == ["explaind", "noise", "twin"] * 2
    assert set(table.experiment) == {"mnist"}
    assert table.subsets.tolist() == [HALVES] * 3 + [LEFT_OUT] * 3
    assert (table.tests == 12).all() and (table.seeds == 1).all()
    assert table.updates.tolist() == [3] * 3 + [6] * 3
    for fraction, names in (
        ("0.5", [("0.5", 0, 5), ("0.5", 5, HALVES)]),
        (LEAVE_ONE_OUT, [(LEAVE_ONE_OUT, 0, LEFT_OUT)]),
    ):
        parts = [read_dataset(study.retrained[name], kind="retrained") for name in names]
        outputs = study.likelihood(np.concatenate([part["outputs"].values for part in parts]))
        chosen = [members(96, fraction, number, 2025) for number in range(len(outputs))]
        for method, scores in {"explaind": study.tau, **others}.items():
            predicted = np.stack([scores[part.numpy()].astype(np.float64).sum(0) for part in chosen])
            row = table[(table.fraction == fraction) & (table.method == method)].iloc[0]
            for seed, column in ((0, "lds_own_seed"), (1, "lds")):
                measured = outputs[:, seed]
                expected = [
                    scipy.stats.spearmanr(predicted[:, i], measured[:, i]).statistic for i in range(12)
                ]
                assert row[column] == pytest.approx(np.mean(expected), abs=1e-9)
            assert row.low <= row.lds <= row.high
            assert row.low_own_seed <= row.lds_own_seed <= row.high_own_seed
    known = table.set_index(["fraction", "method"])
    assert known.seconds[LEAVE_ONE_OUT, "noise"] == 2.5
    assert known.lds_own_seed[LEAVE_ONE_OUT, "explaind"] > 0.8 > known.lds_own_seed[LEAVE_ONE_OUT, "noise"]


@pytest.mark.parametrize(("method", "steps"), [("gradient_dot", [6]), ("tracin", [1, 4])])
def test_gradient_products_are_exact(study: Study, method: str, steps: list[int]) -> None:
    """Σ_c w_c ∇log p_y(x)·∇log p_y(x_k) at θ_T, or in the middle of each half, weighed by its rates."""
    run = Trajectory(study.run)
    found = baselines.score(run, study.experiment, method, 3, study.config["study"]["datamodel"])
    assert found.shape == (96, 3)
    weight = {"gradient_dot": 1.0, "tracin": 3e-3}[method]
    expected = torch.zeros(96, 3)
    for step in steps:
        theta = run.layout.unflatten(run.parameters(step))

        def gradients(part: tuple, count: int, theta: dict = theta) -> torch.Tensor:
            rows = []
            for x, y in zip(*(side[:count] for side in part), strict=True):
                leaves = {name: value.clone().requires_grad_() for name, value in theta.items()}
                outputs = torch.func.functional_call(study.experiment.model, leaves, (x[None],))
                rows.append(
                    torch.cat(
                        [g.flatten() for g in torch.autograd.grad(outputs[0, y], list(leaves.values()))]
                    )
                )
            return torch.stack(rows)

        expected += weight * gradients(study.experiment.train, 96) @ gradients(study.experiment.test, 3).T
    torch.testing.assert_close(found, expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-4)


# A run in ordinary steps, taken apart.


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
    attribution.write(config, run, output=tmp_path / "attribution.zarr")
    contributions.write(config, run, tmp_path / "attribution.zarr", output=tmp_path / "parts.csv")
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
    sparse.write(config, run, output=tmp_path / "sparse.csv")
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
    sparse.write(config, run, output=tmp_path / "sparse.csv")
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
