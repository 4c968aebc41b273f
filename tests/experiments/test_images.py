"""The experiments on images: their samples, their models, and a run that is recorded and certified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import explaind
from explaind.datasets.images import read
from explaind.errors import ConfigError, DataError
from explaind.experiments.build import load, make_optimizer
from explaind.experiments.cifar2.model import ResNet9
from explaind.experiments.experiment import Experiment
from explaind.experiments.images import mirrored
from explaind.experiments.likelihood import negative_log_likelihood
from explaind.experiments.mnist.model import DigitNet
from explaind.features.samples import Augmented
from explaind.recording import Trajectory
from explaind.training import loop
from explaind.training.batches import Order
from tests.experiments.fake_images import configured, recorded, write_images

BOTH = ("mnist", "cifar2")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One store of images per experiment."""
    folder = tmp_path_factory.mktemp("stores")
    return {name: write_images(folder / name / "data.zarr", name) for name in BOTH}


def built(stores: dict[str, Path], name: str, *overrides: str, seed: int = 0) -> Experiment:
    return load(configured(name, stores[name], *overrides), seed=seed)


def rows(inputs: Tensor) -> set[bytes]:
    """Samples as things that can be compared."""
    return {row.numpy().tobytes() for row in inputs}


# Samples.


def test_sizes_and_classes(stores: dict[str, Path]) -> None:
    digits, animals = (built(stores, name) for name in BOTH)
    assert [tuple(part.shape) for part in digits.train] == [(96, 1, 28, 28), (96,)]
    assert [tuple(part.shape) for part in digits.heldout] == [(16, 1, 28, 28), (16,)]
    assert [tuple(part.shape) for part in digits.test] == [(40, 1, 28, 28), (40,)]
    assert [tuple(part.shape) for part in animals.train] == [(40, 3, 32, 32), (40,)]
    assert [tuple(part.shape) for part in animals.test] == [(10, 3, 32, 32), (10,)]
    assert animals.heldout is None
    assert (digits.classes, digits.names) == (10, tuple("0123456789"))
    assert (animals.classes, animals.names) == (2, ("cat", "dog"))
    assert set(animals.train[1].tolist()) == {0, 1}
    for experiment in (digits, animals):
        assert experiment.train[0].dtype == torch.float32
        assert torch.equal(experiment.train_key, experiment.train[1])
        assert torch.equal(experiment.test_key, experiment.test[1])


@pytest.mark.parametrize("name", BOTH)
def test_samples_are_those_of_the_store_with_their_own_labels(stores: dict[str, Path], name: str) -> None:
    experiment, config = built(stores, name), configured(name, stores[name])
    images = read(config)
    mean, std = (torch.tensor(config["data"][key])[:, None, None] for key in ("mean", "std"))
    position = {pixels.numpy().tobytes(): i for i, pixels in enumerate(images.train[0])}
    restored = ((experiment.train[0] * std + mean) * 255).round().to(torch.uint8)
    found = [position[row.numpy().tobytes()] for row in restored]
    labels = images.train[1][found]
    assert torch.equal(torch.tensor(images.classes)[experiment.train[1]], labels)
    count = len(experiment.test[1])
    torch.testing.assert_close(experiment.test[0], (images.test[0][:count] / 255 - mean) / std)
    assert torch.equal(torch.tensor(images.classes)[experiment.test[1]], images.test[1][:count])


def test_training_and_heldout_samples_are_different_ones(stores: dict[str, Path]) -> None:
    experiment = built(stores, "mnist")
    parts = [rows(part[0]) for part in (experiment.train, experiment.heldout, experiment.test)]
    assert [len(part) for part in parts] == [96, 16, 40]
    assert len(set.union(*parts)) == 96 + 16 + 40
    without = built(stores, "mnist", "data.heldout=0")
    assert without.heldout is None
    assert torch.equal(without.train[0], experiment.train[0]), "held-out samples are drawn after the others"


@pytest.mark.parametrize("name", BOTH)
def test_one_seed_fixes_everything_and_leaves_the_global_state(stores: dict[str, Path], name: str) -> None:
    first = built(stores, name, seed=3)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again, other = load({**configured(name, stores[name]), "seed": 3}), built(stores, name, seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert (first.seed, again.seed, other.seed) == (3, 3, 4)
    assert torch.equal(first.train[0], again.train[0])
    assert rows(first.train[0]) != rows(other.train[0])
    assert torch.equal(first.test[0], other.test[0]), "the test set is the same for every seed"
    for (key, p), q, r in zip(
        first.model.named_parameters(), again.model.parameters(), other.model.parameters(), strict=True
    ):
        assert torch.equal(p, q), key
        assert not torch.equal(p, r), key


def test_another_initialisation_keeps_the_samples(stores: dict[str, Path]) -> None:
    first = built(stores, "cifar2")
    other = first.with_initial_parameters(4)
    assert other.seed == 4 and other.train is first.train
    alone = built(stores, "cifar2", seed=4)
    for p, q, r in zip(
        other.model.parameters(), alone.model.parameters(), first.model.parameters(), strict=True
    ):
        assert torch.equal(p, q)
        assert not torch.equal(p, r)


def test_views_follow_the_configuration(stores: dict[str, Path]) -> None:
    assert built(stores, "mnist", "train.flip=horizontal").view is mirrored, "of any images"
    flipped, plain = built(stores, "cifar2"), built(stores, "cifar2", "train.flip=none")
    assert isinstance(flipped.training, Augmented)
    assert flipped.training.view is mirrored
    assert plain.view is None
    assert plain.training is plain.train
    indices, views = torch.tensor([4, 4, 0]), torch.tensor([0, 1, 1])
    inputs, targets = flipped.seen(indices, views)
    assert torch.equal(inputs[0], flipped.train[0][4])
    assert torch.equal(inputs[1], flipped.train[0][4].flip(-1))
    assert torch.equal(inputs[2], flipped.train[0][0].flip(-1))
    assert torch.equal(targets, flipped.train[1][indices])
    assert torch.equal(plain.seen(indices, None)[0], plain.train[0][indices])


@pytest.mark.parametrize(
    ("name", "override", "says"),
    [
        ("mnist", "data.heldout=60", "this many train [+] heldout images.*1 to 140.*156"),
        ("mnist", "data.test=51", "this many test images.*1 to 50.*51"),
        ("cifar2", "data.train=141", "this many train images.*1 to 140.*141"),
        ("cifar2", "data.test=51", "this many test images"),
    ],
)
def test_more_samples_than_the_store_holds_are_refused(
    stores: dict[str, Path], name: str, override: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        built(stores, name, override)


def test_images_of_another_size_are_refused(stores: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="another size"):
        load(configured("mnist", stores["cifar2"]), seed=0)
    grey = write_images(tmp_path / "data.zarr", "cifar2", shape=(1, 32, 32))
    with pytest.raises(DataError, match="another size"):
        load(configured("cifar2", grey), seed=0)


# Models.


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (lambda: DigitNet(channels=(16, 32), hidden=64), 56_714),
        (lambda: DigitNet(channels=(8, 16), hidden=64), 27_562),
        (lambda: ResNet9(width=64, classes=2), 2_271_168),
        (lambda: ResNet9(width=16, classes=2), 142_320),
    ],
)
def test_numbers_of_parameters(model: Any, size: int) -> None:
    assert sum(parameter.numel() for parameter in model().parameters()) == size


@pytest.mark.parametrize("name", BOTH)
def test_every_parameter_is_in_one_layer(stores: dict[str, Path], name: str) -> None:
    experiment = built(stores, name)
    names = [name for name, _ in experiment.model.named_parameters()]
    assert [name for part in experiment.groups.values() for name in part] == names
    layers = {
        "mnist": ("conv1", "conv2", "linear1", "linear2"),
        "cifar2": ("conv1", "conv2", "residual1", "conv3", "residual2", "conv4", "linear"),
    }
    assert tuple(experiment.groups) == layers[name]


class Residual(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return x + self.module(x)


def literal_resnet9(w: int) -> nn.Module:
    """The layers as one would write them down, one after the other."""

    def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, padding: int = 1) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, bias=False), nn.ReLU()
        )

    return nn.Sequential(
        conv(3, w),
        conv(w, 2 * w, kernel=5, stride=2, padding=2),
        Residual(nn.Sequential(conv(2 * w, 2 * w), conv(2 * w, 2 * w))),
        conv(2 * w, 4 * w),
        nn.MaxPool2d(2),
        Residual(nn.Sequential(conv(4 * w, 4 * w), conv(4 * w, 4 * w))),
        conv(4 * w, 2 * w, padding=0),
        nn.AdaptiveMaxPool2d((1, 1)),
        nn.Flatten(),
        nn.Linear(2 * w, 2, bias=False),
        nn.LogSoftmax(dim=-1),
    ).double()


def literal_digit_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(2, 3, 3), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(75, 8), nn.ReLU(), nn.Linear(8, 10), nn.LogSoftmax(dim=-1),
    ).double()  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "literal", "shape"),
    [
        (lambda: ResNet9(width=4, classes=2), lambda: literal_resnet9(4), (3, 32, 32)),
        (lambda: DigitNet(channels=(2, 3), hidden=8), literal_digit_net, (1, 28, 28)),
    ],
)
def test_forward_and_gradients_equal_the_literal_layers(ours: Any, literal: Any, shape: Any) -> None:
    torch.manual_seed(0)
    mine, theirs = ours().double(), literal()
    mine.load_state_dict(
        dict(zip(mine.state_dict(), (value.clone() for value in theirs.state_dict().values()), strict=True))
    )
    images, targets = torch.randn(5, *shape, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 1])
    expected = theirs(images)
    found = mine(images)
    torch.testing.assert_close(found, expected, atol=1e-13, rtol=0)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(5, dtype=torch.float64))
    loss = negative_log_likelihood(found, targets)
    torch.testing.assert_close(loss, nn.functional.nll_loss(expected, targets))
    gradients = torch.autograd.grad(loss, list(mine.parameters()))
    others = torch.autograd.grad(nn.functional.nll_loss(expected, targets), list(theirs.parameters()))
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, other, atol=1e-13, rtol=0)


# A recorded run: momentum, decay in the gradient, a triangular rate, flips, mini-batches.

CHUNKS = "execution.chunk_steps=2"
LARGE = ("optimizer.lr=0.5", "model.width=8")  # in six updates, a smaller one would hardly move


@pytest.fixture(scope="module")
def animals(stores: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = configured("cifar2", stores["cifar2"], CHUNKS, *LARGE)
    return recorded(config, tmp_path_factory.mktemp("animals"))


def test_a_recorded_run_follows_its_configuration(animals: Path, stores: dict[str, Path]) -> None:
    run, config = Trajectory(animals), configured("cifar2", stores["cifar2"], *LARGE)
    experiment = load(config, seed=0)
    order = Order(40, config["train"], 0)
    assert (run.n_steps, run.has_views, order.per_epoch) == (6, True, 2)
    assert "files" not in run.config, "a path on this machine is no part of the run"
    for step in range(6):
        (batch,) = run.step(step).batches
        indices, views = order(step)
        assert torch.equal(batch.indices, indices)
        assert torch.equal(batch.views, views)
    peak = config["optimizer"]["lr"]
    factors = [0, 1 / 2, 1, 3 / 4, 1 / 2, 1 / 4]  # the peak is after the first epoch
    assert [run.step(s).lr[0] for s in range(6)] == pytest.approx([peak * factor for factor in factors])
    flat = torch.cat([parameter.detach().flatten() for parameter in experiment.model.parameters()])
    assert torch.equal(run.parameters(0), flat)


def test_a_recorded_run_is_the_training_loop_as_one_would_write_it(
    animals: Path, stores: dict[str, Path]
) -> None:
    run, config = Trajectory(animals), configured("cifar2", stores["cifar2"], *LARGE)
    experiment = load(config, seed=0)
    model, (images, labels) = experiment.model, experiment.train
    optimizer = make_optimizer(config, model)
    for step in range(6):
        (batch,) = run.step(step).batches
        x = images[batch.indices].clone()
        for position, flip in enumerate(batch.views.tolist()):
            if flip:
                x[position] = x[position].flip(-1)
        optimizer.zero_grad()
        nn.functional.nll_loss(model(x), labels[batch.indices]).backward()
        optimizer.param_groups[0]["lr"] = run.step(step).lr[0]
        optimizer.step()
        flat = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
        torch.testing.assert_close(run.parameters(step + 1), flat, atol=1e-6, rtol=1e-4)


def test_metrics_of_a_recorded_run(animals: Path, stores: dict[str, Path]) -> None:
    run, table = Trajectory(animals), pd.read_csv(animals.with_name("metrics.csv"))
    experiment = built(stores, "cifar2", *LARGE)
    assert table.step.tolist() == list(range(7))
    assert table.test_loss.notna().tolist() == [True, False] * 3 + [True]
    assert table.train_loss.notna().all()
    (batch,) = run.step(4).batches
    state = run.layout.unflatten(run.parameters(4))
    inputs, targets = experiment.seen(batch.indices, batch.views)
    outputs = torch.func.functional_call(experiment.model, state, (inputs,))
    assert table.train_loss[4] == pytest.approx(float(experiment.loss(outputs, targets)), rel=1e-5)
    hits = (outputs.argmax(-1) == targets).float().mean()
    assert table.train_accuracy[4] == pytest.approx(float(hits))
    outputs = torch.func.functional_call(experiment.model, state, (experiment.test[0],))
    assert table.test_loss[4] == pytest.approx(float(experiment.loss(outputs, experiment.test[1])), rel=1e-5)


def test_a_recorded_run_is_certified_and_explained_completely(animals: Path, stores: dict[str, Path]) -> None:
    experiment = built(stores, "cifar2", *LARGE)
    tests = tuple(part[:4] for part in experiment.test)
    found = explaind.verify(animals, experiment.model, experiment.loss, train=experiment.training, test=tests)
    assert found.attrs["passed"] == 1
    scores = explaind.influence(
        animals, experiment.model, experiment.loss, train=experiment.training, test=tests,
        keep=("train", "test", "output"), tolerance=1e-3, tail_tolerance=0,
    )  # fmt: skip
    total = scores.initial + scores.kernel.sum("train") + scores.regularization
    assert float(abs(total + scores.residual - scores.final).max()) <= 1e-5
    moved = float(abs(scores.final - scores.initial).max())
    assert moved > 0.02, "there is something to explain"
    assert float(abs(scores.residual).max()) <= 6e-3, "the tolerance, for each of six updates"
    run = Trajectory(animals)
    state = run.layout.unflatten(run.parameters(6))
    outputs = torch.func.functional_call(experiment.model, state, (tests[0],))
    torch.testing.assert_close(torch.tensor(scores.final.values).float(), outputs, atol=1e-5, rtol=0)
    with pytest.raises(DataError, match="saw views"):
        explaind.verify(animals, experiment.model, experiment.loss, train=experiment.train)


@pytest.mark.parametrize("name", BOTH)
def test_a_resumed_recording_equals_an_uninterrupted_one(
    name: str, stores: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(name, stores[name], CHUNKS, "train.evaluate_every=1")
    (tmp_path / "whole").mkdir()
    whole = recorded(config, tmp_path / "whole")
    evaluate, calls = loop._evaluate, []

    def interrupted(experiment: Experiment) -> tuple[float, float]:
        calls.append(1)
        if len(calls) == 6:  # before update 5: four are committed
            raise KeyboardInterrupt
        return evaluate(experiment)

    monkeypatch.setattr(loop, "_evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recorded(config, tmp_path)
    assert not (tmp_path / "run.zarr").exists()
    again = recorded(config, tmp_path)
    assert len(calls) == 6 + 3, "the committed updates are not repeated"
    first, second = Trajectory(whole), Trajectory(again)
    second.verify()
    assert second.complete
    assert second.has_views == (name == "cifar2")
    for step in range(6):
        (mine,), (other,) = second.step(step).batches, first.step(step).batches
        assert torch.equal(mine.indices, other.indices)
        assert mine.views is other.views or torch.equal(mine.views, other.views)
        assert second.step(step).lr == first.step(step).lr
        assert torch.equal(second.parameters(step + 1), first.parameters(step + 1))
    summaries = [json.loads((folder / "run.json").read_text()) for folder in (tmp_path, tmp_path / "whole")]
    assert summaries[0]["parameters_sha256"] == summaries[1]["parameters_sha256"]
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "metrics.csv"), pd.read_csv(tmp_path / "whole" / "metrics.csv")
    )
