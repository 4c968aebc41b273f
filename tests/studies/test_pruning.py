"""Pruned models: scores against slow definitions, what is kept and what is not, filters, and what is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from explaind.config import compose, validate
from explaind.config.studies import PRUNING_METHODS
from explaind.errors import ConfigError
from explaind.experiments.build import load
from explaind.experiments.experiment import Experiment
from explaind.experiments.runs import open_run
from explaind.figures import fig02
from explaind.recording.trajectory import Trajectory
from explaind.studies import filters, masking, pruning, saliency
from tests.experiments.fake_images import configured, recorded, write_images

TESTS = 3  # that scores use


class Study:
    """A recorded run of an image experiment at toy size, and its pruning options."""

    def __init__(self, experiment: str, folder: Path) -> None:
        data = write_images(folder / "data.zarr", experiment)
        self.config = configured(experiment, data)
        options = compose(experiment, "paper")["study"]["pruning"]
        self.options = options | {"fractions": [0.3, 1.0, 0.6], "tests": TESTS, "retraining": 2}
        self.config["study"]["pruning"] = self.options
        self.trajectory = recorded(self.config, folder)

    def opened(self) -> tuple[Trajectory, Experiment]:
        """The run, and the experiment with the final parameters."""
        run, experiment = open_run(self.trajectory)
        experiment.model.load_state_dict(run.layout.unflatten(run.parameters(run.n_steps).clone()))
        return run, experiment

    def scores(self, method: str, tests: Tensor, **options: Any) -> dict[str, Tensor]:
        run, experiment = self.opened()
        generator = torch.Generator().manual_seed(0)
        return saliency.Saliency(run, experiment, tests, self.options | options, generator)(method)

    def write(self, output: Path, split: int = 0, **options: Any) -> pd.DataFrame:
        config = {"study": {"pruning": self.options | options}}
        pruning.write(config, trajectory=self.trajectory, split=split, output=output)
        return pd.read_csv(output)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study("mnist", tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """With a residual network, momentum and flips."""
    return Study("cifar2", tmp_path_factory.mktemp("animals"))


# Scores, each against its definition in loops.


def gradients(experiment: Experiment, theta: dict[str, Tensor], of: Any) -> dict[str, Tensor]:
    """∇ of a scalar of the model's outputs at θ, in float64."""
    leaves = {name: value.double().requires_grad_() for name, value in theta.items()}
    found = torch.autograd.grad(
        of(lambda x: functional_call(experiment.model, leaves, (x.double(),))), list(leaves.values())
    )
    return dict(zip(leaves, found, strict=True))


def test_importance_is_the_sum_of_absolute_contributions(digits: Study) -> None:
    """B({p}) = Σ_x Σ_j |Σ_s −Φ_s(x)[j, p] (−u_s − α λ θ_s)[p]|, by midpoints and one output at a time."""
    run, experiment = digits.opened()
    optimizer, nodes = run.config["optimizer"], 81
    tests = torch.tensor([5, 0])
    total = torch.zeros(run.layout.size, dtype=torch.float64)
    for x in experiment.test[0][tests]:
        for j in (0, 7):
            signed = torch.zeros_like(total)
            for s in range(run.n_steps):
                theta, after = (run.parameters(i).double() for i in (s, s + 1))
                kernel = after - theta + optimizer["lr"] * optimizer["weight_decay"] * theta
                for node in range(nodes):
                    at = run.layout.unflatten(theta + (node + 0.5) / nodes * (after - theta))
                    phi = gradients(experiment, at, lambda f, x=x, j=j: f(x[None])[0, j])
                    signed += run.layout.flatten(phi) * kernel / nodes
            total += signed.abs()

    from explaind.attribution import influence

    own = digits.scores("explaind", tests, tolerance=1e-4)
    both = influence(
        run, experiment.model, test=experiment.test[0][tests], keep=("parameter", "output"), importance=("test",),
        tolerance=1e-4,
    )["kernel"]  # fmt: skip
    np.testing.assert_allclose(run.layout.flatten(own), both.sum("output"), rtol=1e-9, atol=1e-12)
    chosen = both.sel(output=[0, 7]).sum("output").values
    np.testing.assert_allclose(chosen, total.numpy(), atol=5e-3 * float(total.max()))
    assert np.corrcoef(chosen, total.numpy())[0, 1] > 0.9999


@pytest.mark.parametrize("name", ["digits", "animals"])
def test_gradient_scores_are_loops_over_samples(name: str, request: pytest.FixtureRequest) -> None:
    study = request.getfixturevalue(name)
    run, experiment = study.opened()
    theta = {n: p.detach() for n, p in experiment.model.named_parameters()}
    tests = torch.tensor([4, 1])
    expected = {method: dict.fromkeys(theta, 0) for method in ("gradient_weight", "first", "fisher")}
    for x in experiment.test[0][tests]:
        for j in range(experiment.classes):
            for n, g in gradients(experiment, theta, lambda f, x=x, j=j: f(x[None])[0, j]).items():
                expected["gradient_weight"][n] = expected["gradient_weight"][n] + (g * theta[n]).abs()
    for x, y in zip(*experiment.train, strict=True):
        of_loss = gradients(
            experiment, theta, lambda f, x=x, y=y: nn.functional.nll_loss(f(x[None]), y[None])
        )
        for n, g in of_loss.items():
            expected["first"][n] = expected["first"][n] + g / len(experiment.train[1])
            expected["fisher"][n] = expected["fisher"][n] + g**2 * theta[n] ** 2 / len(experiment.train[1])
    expected["snip"] = {n: (g * theta[n]).abs() for n, g in expected.pop("first").items()}
    for method, values in expected.items():
        own = study.scores(method, tests)
        for n, value in values.items():
            torch.testing.assert_close(own[n].double(), value, rtol=2e-3, atol=1e-6 * float(value.max()))
    initial = run.layout.unflatten(run.parameters(0))
    magnitude, change = (study.scores(method, tests) for method in ("magnitude", "change"))
    for n, value in theta.items():
        assert torch.equal(magnitude[n], value.abs()) and torch.equal(change[n], (value - initial[n]).abs())


def test_scores_do_not_depend_on_blocks(animals: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = torch.arange(3)
    whole = [animals.scores(method, tests) for method in ("gradient_weight", "fisher")]
    monkeypatch.setattr(saliency, "BLOCK_BYTES", 1)
    parts = [animals.scores(method, tests) for method in ("gradient_weight", "fisher")]
    for one, other in zip(whole, parts, strict=True):
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=1e-9)


# What is kept.


def test_the_largest_scores_are_kept_in_one_list(digits: Study) -> None:
    run, experiment = digits.opened()
    names = masking.prunable(experiment, run.layout.names, "linear2")
    assert set(run.layout.names) - set(names) == {"linear2.weight", "linear2.bias"}
    before = {n: p.detach().clone() for n, p in experiment.model.named_parameters()}
    scores = {n: torch.rand(p.shape, dtype=torch.float64) for n, p in before.items()}
    scores["linear2.weight"] *= 0
    flat = torch.cat([scores[n].flatten() for n in names])
    for fraction in (0.25, 0.6, 1.0):
        count = round(fraction * len(flat))
        limit = flat.sort(descending=True).values[count - 1]
        rest = {n: torch.full_like(p, 7.0) for n, p in before.items()}
        for model, other in (
            (masking.keep_largest(experiment.model, names, scores, fraction), 0.0),
            (masking.keep_largest(experiment.model, names, scores, fraction, rest=rest), 7.0),
        ):
            pruned, kept = model
            assert kept == count / len(flat)
            for n, p in pruned.named_parameters():
                whole = n.startswith("linear2") | (scores[n] >= limit)
                assert torch.equal(p, torch.where(whole, before[n], other)), n
    assert all(torch.equal(p, before[n]) for n, p in experiment.model.named_parameters())


def test_splits_are_disjoint_and_differ() -> None:
    parts = [pruning.split_tests(41, 0.5, 3, split) for split in (0, 1)]
    for scored, evaluated in parts:
        assert len(scored) == 20
        assert sorted([*scored.tolist(), *evaluated.tolist()]) == list(range(41))
    assert set(parts[0][0].tolist()) != set(parts[1][0].tolist())


# Filters.


def removed_rows(weight: Tensor) -> Tensor:
    return (weight.flatten(1) == 0).all(1)


def test_filters_of_smallest_norm_go_with_their_biases_and_readers(digits: Study) -> None:
    _, experiment = digits.opened()
    names = [n for n, _ in experiment.model.named_parameters() if not n.startswith("linear2")]
    masks = filters.filter_masks(experiment.model, names, 0.45, experiment.train[0][:1])
    size = sum(mask.numel() for mask in masks.values())
    kept = sum(int(mask.sum()) for mask in masks.values())
    assert 0 < kept <= 0.45 * size
    for layer in ("conv1", "conv2", "linear1"):
        norms = experiment.model.get_parameter(f"{layer}.weight").detach().abs().flatten(1).sum(1)
        gone = masks[f"{layer}.bias"] == 0
        assert norms[gone].max() < norms[~gone].min(), layer
        assert not masks[f"{layer}.weight"][gone].any()
    silent = masks["conv1.bias"] == 0
    assert silent.any() and not masks["conv2.weight"][:, silent].any()
    silent = (masks["conv2.bias"] == 0).repeat_interleave(25)
    alive = masks["linear1.bias"] == 1
    assert not masks["linear1.weight"][:, silent].any() and masks["linear1.weight"][alive][:, ~silent].all()


@pytest.mark.parametrize("name", ["digits", "animals"])
def test_weights_that_read_removed_filters_change_nothing(name: str, request: pytest.FixtureRequest) -> None:
    """Also where a residual is added: there, the channel is read all the same."""
    _, experiment = request.getfixturevalue(name).opened()
    names = [n for n, _ in experiment.model.named_parameters() if not n.startswith("linear2")]
    masks = {n: torch.ones_like(experiment.model.get_parameter(n)) for n in names}
    for n in names:
        if n.endswith("weight") and len(masks[n]) > 1:
            masks[n][0] = 0
            if (bias := n.replace("weight", "bias")) in masks:
                masks[bias][0] = 0
    fewer = filters.unread(experiment.model, masks, experiment.train[0][:1])
    assert sum(int(masks[n].sum() - fewer[n].sum()) for n in names) > 0
    outputs = []
    for chosen in (masks, fewer):
        model = copy.deepcopy(experiment.model)
        with torch.no_grad():
            for n in names:
                model.get_parameter(n).mul_(chosen[n])
            outputs.append(model(experiment.train[0][:8]))
    torch.testing.assert_close(*outputs)


@pytest.mark.parametrize("name", ["digits", "animals"])
def test_removed_filters_stay_zero_and_the_rest_is_retrained(
    name: str, request: pytest.FixtureRequest
) -> None:
    study = request.getfixturevalue(name)
    run, experiment = study.opened()
    output = study.options["output_layer"]
    names = masking.prunable(experiment, run.layout.names, output)
    before = {n: p.detach().clone() for n, p in experiment.model.named_parameters()}
    gone: dict[str, Tensor] = {}
    sizes = []
    for fraction, model, kept in filters.prune_filters(
        experiment, names, [0.2, 1.0, 0.6], run.config, updates=2, seed=0
    ):
        assert kept <= fraction
        sizes.append((fraction, kept))
        own = dict(model.named_parameters())
        assert set(own) == set(before), "no mask is left in the model"
        changed = not torch.equal(own[f"{output}.weight"], before[f"{output}.weight"])
        assert changed == (fraction < 1), "the output layer is retrained, but only after a removal"
        for n in names:
            assert not own[n][gone.get(n, torch.zeros_like(own[n], dtype=torch.bool))].any()
            gone[n] = own[n] == 0
            assert own[n].any() or own[n].dim() == 1, "a filter of each layer is left"
    assert [fraction for fraction, _ in sizes] == [1.0, 0.6, 0.2] and sizes[0][1] == 1
    assert all(torch.equal(p, before[n]) for n, p in experiment.model.named_parameters())


def test_without_retraining_only_removal_changes_the_model(digits: Study) -> None:
    run, experiment = digits.opened()
    names = masking.prunable(experiment, run.layout.names, "linear2")
    for _, model, _ in filters.prune_filters(experiment, names, [0.6], run.config, updates=0, seed=0):
        for n, p in model.named_parameters():
            own = experiment.model.get_parameter(n)
            assert torch.equal(p, own) if n.startswith("linear2") else bool(((p == own) | (p == 0)).all())


# The study.


def test_all_methods_at_all_fractions(digits: Study, tmp_path: Path) -> None:
    table = digits.write(tmp_path / "0.csv", split=0)
    assert tuple(table.columns) == pruning.COLUMNS
    assert set(table.method) == set(PRUNING_METHODS) == set(fig02.METHODS)
    counts = table.groupby(["method", "rest"]).size()
    assert (counts == 3).all() and set(table[table.rest == "initial"].method) == set(digits.options["reset"])
    whole = table[table.fraction == 1]
    assert (whole.agreement == 1).all() and (whole.kl.abs() < 1e-12).all() and (whole.kept == 1).all()
    assert (whole.accuracy == whole.original).all()
    assert (table[(table.fraction < 1) & (table.method == "random")].kl > 0).all() and (
        table.kl > -1e-12
    ).all()
    assert (table.kept <= table.fraction + 1e-3).all()
    again = digits.write(tmp_path / "again.csv", split=0)
    assert (tmp_path / "0.csv").read_bytes() == (tmp_path / "again.csv").read_bytes() and len(again)
    other = digits.write(tmp_path / "1.csv", split=1)
    assert not np.array_equal(other.kl, table.kl)


def test_measures_are_of_the_evaluated_part(digits: Study, tmp_path: Path) -> None:
    table = digits.write(tmp_path / "m.csv", methods=["magnitude"], reset=[], fractions=[0.5])
    run, experiment = digits.opened()
    options = digits.options
    _, evaluated = pruning.split_tests(len(experiment.test[1]), options["part"], options["seed"], 0)
    x, y = (part[evaluated] for part in experiment.test)
    names = masking.prunable(experiment, run.layout.names, "linear2")
    scores = {n: experiment.model.get_parameter(n).detach().abs() for n in names}
    model, kept = masking.keep_largest(experiment.model, names, scores, 0.5)
    with torch.no_grad():
        p, q = experiment.model(x).double(), model(x).double()
    (row,) = table.itertuples()
    assert row.kept == kept
    assert row.kl == pytest.approx(float((p.exp() * (p - q)).sum(-1).mean()), abs=1e-6)
    assert row.agreement == pytest.approx(float((p.argmax(-1) == q.argmax(-1)).double().mean()))
    assert row.accuracy == pytest.approx(float((q.argmax(-1) == y).double().mean()))
    assert row.original == pytest.approx(float((p.argmax(-1) == y).double().mean()))


def test_a_residual_network_with_momentum(animals: Study, tmp_path: Path) -> None:
    table = animals.write(tmp_path / "0.csv", tolerance=0.1)
    assert len(table) == 3 * (len(PRUNING_METHODS) + len(animals.options["reset"]))
    assert np.isfinite(table.kl).all() and table.accuracy.between(0, 1).all()


# Bad input, before anything is computed.


def test_another_output_layer_is_refused_before_anything_is_computed(
    digits: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saliency, "influence", lambda *_, **__: pytest.fail("computed"))
    monkeypatch.setattr(Experiment, "outputs", lambda *_: pytest.fail("computed"))
    with pytest.raises(
        ConfigError, match="no layer 'linear9'.*one of conv1, conv2, linear1, linear2.*last layer"
    ):
        digits.write(tmp_path / "no.csv", output_layer="linear9")
    assert not (tmp_path / "no.csv").exists()


def test_a_model_of_the_output_layer_alone_is_refused(digits: Study) -> None:
    _, experiment = digits.opened()
    with pytest.raises(ConfigError, match="nothing to prune"):
        masking.prunable(experiment, ("linear2.weight", "linear2.bias"), "linear2")


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01])
def test_fractions_are_shares(fraction: float) -> None:
    with pytest.raises(ConfigError, match="above 0 and of at most 1"):
        masking.keep_largest(nn.Linear(2, 2), ["weight"], {"weight": torch.ones(2, 2)}, fraction)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("fractions=[0.5, 1.5]", "study.pruning.fractions.*above 0 and of at most 1"),
        ("fractions=[0.0]", "study.pruning.fractions.*above 0 and of at most 1"),
        ("splits=1", "study.pruning.splits.*at least 2"),
        ("methods=[explaind, lottery]", "study.pruning.methods.*one of explaind, filters,"),
        ("methods=[]", "study.pruning.methods"),
        ("reset=[filters]", "study.pruning.reset.*some of explaind, magnitude"),
        ("output_layer=linear9", "study.pruning.output_layer.*one of conv1, conv2, linear1, linear2"),
        ("tests=5001", "study.pruning.tests.*at most 5000"),
        ("part=1.0", "study.pruning.part.*below 1"),
    ],
)
def test_options_are_refused_before_any_training(change: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        compose("mnist", "default", [f"study.pruning.{change}"])


def test_an_experiment_may_go_without() -> None:
    config = compose("cifar2", "default")
    assert config["study"]["pruning"] is None
    config["study"]["pruning"] = compose("cifar2", "paper")["study"]["pruning"]
    validate(config)
    config["study"]["pruning"]["fraction"] = 0.5
    with pytest.raises(ConfigError, match=r"unknown option 'study\.pruning\.fraction'"):
        validate(config)


@pytest.mark.parametrize("name", ["mnist", "cifar2"])
def test_options_know_the_layers(name: str, digits: Study, animals: Study) -> None:
    from explaind.config.validate import options_of

    study = digits if name == "mnist" else animals
    layers = options_of(name).model_fields["model"].annotation.layer_names
    assert layers == tuple(load(study.config, seed=0).groups)
    assert study.options["output_layer"] == layers[-1]
