"""Models trained on subsets, and what predicts them.

One run is trained with plain SGD in tiny steps. There, and only there, leaving a sample out has an effect
that its attribution must predict: this is the test that scores mean what they say.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
import xarray as xr

from explaind.experiments.build import load
from explaind.recording import Trajectory
from explaind.store import read_dataset, write_dataset
from explaind.studies import attribution, baseline, datamodel, retrain
from explaind.studies.retrain import LEAVE_ONE_OUT, members
from explaind.tables import lds
from explaind.training.batches import Order
from tests.experiments.fake_images import configured, recorded, write_images

LEFT_OUT, HALVES = 24, 12  # subsets that leave one out, and subsets of half the samples


class Study:
    """One epoch on 96 images; its data-level scores; models retrained from seeds 0 (its own) and 1."""

    def __init__(self, folder: Path) -> None:
        data = write_images(folder / "data.zarr", "mnist")
        self.config = configured("mnist", data, "study.attribution.tolerance=1e-5")
        self.config["optimizer"] = {"name": "SGD", "lr": 1e-3, "momentum": 0.0, "weight_decay": 0.0}
        self.folder, self.run = folder, recorded(self.config, folder)
        self.experiment = load(self.config, seed=0)
        self.attribution = folder / "attribution.zarr"
        attribution.write(self.config, trajectory=self.run, output=self.attribution)
        self.own = read_dataset(self.attribution, kind="attribution")
        self.labels = self.experiment.test[1][:12].numpy()
        self.tau = datamodel.score_of_attribution(self.own, self.labels)
        self.retrained = {
            name: self._retrain(*name)
            for name in ((LEAVE_ONE_OUT, 0, LEFT_OUT), ("0.5", 5, HALVES), ("0.5", 0, 5))
        }

    def _retrain(self, fraction: str, start: int, stop: int) -> Path:
        path = self.folder / f"{fraction}-{start}.zarr"
        retrain.write(self.config, fraction=fraction, start=start, stop=stop, output=path)
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
    retrain.write(study.config, fraction="0.5", start=3, stop=4, output=tmp_path / "again.zarr")
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
        dataset = xr.Dataset({"score": (("train", "test"), values)}, attrs={"method": name})
        write_dataset(dataset, tmp_path / f"{name}.zarr", kind="baseline")
    config = copy.deepcopy(study.config)
    config["study"]["datamodel"]["resamples"] = 60
    datamodel.write(
        config, trajectory=study.run, attribution=study.attribution,
        baselines=[tmp_path / f"{name}.zarr" for name in others], retrained=list(study.retrained.values()),
        output=tmp_path / "table.csv",
    )  # fmt: skip
    table = pd.read_csv(tmp_path / "table.csv")
    assert tuple(table.columns) == lds.COLUMNS
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
    assert known.lds_own_seed[LEAVE_ONE_OUT, "explaind"] > 0.8 > known.lds_own_seed[LEAVE_ONE_OUT, "noise"]


@pytest.mark.parametrize(("method", "steps"), [("gradient_dot", [6]), ("tracin", [1, 4])])
def test_gradient_products_are_exact(study: Study, method: str, steps: list[int]) -> None:
    """Σ_c w_c ∇log p_y(x)·∇log p_y(x_k) at θ_T, or in the middle of each half, weighed by its rates."""
    run = Trajectory(study.run)
    found = baseline.score(run, study.experiment, method, 3, study.config["study"]["datamodel"])
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
