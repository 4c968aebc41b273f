"""Random operations of the forward pass are replayed: influences equal the definition, with masks that the test keeps itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import explaind
from explaind.errors import ExplaindError, QueryError, RecordingError
from explaind.recording import trajectory
from explaind.recording.forward_passes import ForwardPass
from tests.attribution.tiny import Net, Run, make_data
from tests.situations import EXACT, refused, situation

MICRO = [[[0, 1, 2], [3, 4]], [[5, 6, 0], [1, 1]], [[2, 3, 4], [5]]]


class Noisy(Net):
    """A function of the hidden activations [n, 4], with chance in it."""

    def __init__(self, change: Callable[[nn.Module, Tensor], Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.change = change
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.change(self, torch.tanh(self.first(x))))


def through(part: nn.Module, *shape: int) -> Noisy:
    """The module on activations of another shape, [n, *shape]."""
    return Noisy(lambda m, h: m.part(h.reshape(len(h), *shape)).reshape(len(h), 4), part=part)


def attention(weights: bool, batch_first: bool = True) -> Noisy:
    def attend(model: nn.Module, h: Tensor) -> Tensor:
        h = h.reshape(-1, 2, 2)
        h = h if batch_first else h.transpose(0, 1)
        h = model.part(h, h, h, need_weights=weights)[0]
        h = h if batch_first else h.transpose(0, 1)
        return h.reshape(-1, 4)

    return Noisy(attend, part=nn.MultiheadAttention(2, 2, dropout=0.4, batch_first=batch_first))


def recurrent(kind: type[nn.RNNBase], **options: bool) -> Noisy:
    def run(model: nn.Module, h: Tensor) -> Tensor:
        h = h.reshape(-1, 2, 2) if model.part.batch_first else h.reshape(-1, 2, 2).transpose(0, 1)
        h = model.part(h)[0]
        h = h if model.part.batch_first else h.transpose(0, 1)
        return h.reshape(len(h), -1)[:, :4]

    return Noisy(run, part=kind(2, 2, num_layers=3, dropout=0.4, **options))


def drop_path(model: nn.Module, h: Tensor) -> Tensor:
    """A residual branch is dropped for whole samples, as in vision transformers."""
    if not model.training:
        return h
    return h + h * h.new_empty(len(h), 1).bernoulli_(0.5).div_(0.5)


def noise_added(model: nn.Module, h: Tensor) -> Tensor:
    return h * (1 + 0.3 * torch.randn_like(h)) + 0.1 * torch.rand(h.shape) if model.training else h


def sdpa(model: nn.Module, h: Tensor) -> Tensor:
    q = h.reshape(-1, 1, 2, 2)
    p = 0.4 if model.training else 0.0
    return F.scaled_dot_product_attention(q, q, q, dropout_p=p, is_causal=True).reshape(-1, 4)


def weights_dropped(model: nn.Module, h: Tensor) -> Tensor:
    """DropConnect: one mask on a weight, which all samples share."""
    return h @ F.dropout(model.part.weight, 0.4, model.training).T


def encoder() -> nn.Module:
    return nn.TransformerEncoderLayer(2, 2, 4, dropout=0.3, batch_first=True)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "dropout": lambda: Noisy(lambda m, h: m.part(h), part=nn.Dropout(0.4)),
    "dropout in place": lambda: Noisy(lambda m, h: m.part(h + 0), part=nn.Dropout(0.4, inplace=True)),
    "dropout of every entry": lambda: Noisy(lambda m, h: m.part(h), part=nn.Dropout(1.0)),
    "a functional dropout": lambda: Noisy(lambda m, h: F.dropout(h, 0.4, m.training)),
    "dropout of channels": lambda: through(nn.Dropout1d(0.4), 2, 2),
    "dropout of images' channels": lambda: through(nn.Dropout2d(0.4), 2, 2, 1),
    "alpha dropout": lambda: Noisy(lambda m, h: m.part(h), part=nn.AlphaDropout(0.4)),
    "alpha dropout of channels": lambda: through(nn.FeatureAlphaDropout(0.4), 2, 2),
    # shifted, so that the integral along an update, too, meets no kink
    "randomised ReLU (RReLU)": lambda: Noisy(lambda m, h: m.part(h - 2), part=nn.RReLU()),
    "dropout inside nn.MultiheadAttention": lambda: attention(weights=False),
    "the same with attention weights returned": lambda: attention(weights=True, batch_first=False),
    "dropout in scaled_dot_product_attention": lambda: Noisy(sdpa),
    "dropout in a Transformer layer": lambda: through(encoder(), 2, 2),
    "dropout between LSTM layers": lambda: recurrent(nn.LSTM),
    "dropout between GRU layers": lambda: recurrent(nn.GRU, batch_first=True, bidirectional=True),
    "stochastic depth": lambda: Noisy(drop_path),
    "noise from torch.randn_like and torch.rand": lambda: Noisy(noise_added),
    "Gumbel softmax": lambda: Noisy(lambda m, h: F.gumbel_softmax(h) if m.training else h.softmax(-1)),
    "dropped weights (DropConnect)": lambda: Noisy(weights_dropped, part=nn.Linear(4, 4)),
}


@dataclass
class Kept(Run):
    """A run that kept the generator's states before its forward passes."""

    states: list[Tensor] = field(default_factory=list)

    def sample_gradients(self, theta: dict[str, Tensor], s: int) -> dict[int, Tensor]:
        own, before = iter(self.states[sum(len(step) for step in MICRO[:s]) :]), torch.get_rng_state()
        forward = self.model.forward

        def replayed(x: Tensor) -> Tensor:
            torch.set_rng_state(next(own))
            return forward(x)

        self.model.train()
        self.model.forward = replayed
        try:
            return super().sample_gradients(theta, s)
        finally:
            self.model.forward = forward
            self.model.eval()
            torch.set_rng_state(before)


def train(path: Path, model: nn.Module, *, dtype: torch.dtype = torch.float64, context=nullcontext) -> Kept:
    model = model.to(dtype)
    data, test = make_data(dtype=dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.1)
    run = Kept(path, model, F.cross_entropy, data, test, MICRO)
    with explaind.record(path, model, optimizer, chunk_steps=2) as recorder:
        for step in MICRO:
            optimizer.zero_grad()
            for index in step:
                with torch.no_grad():
                    model(data[0])  # an evaluation in between draws too, and is no part of the update
                run.states.append(torch.get_rng_state())
                with context():
                    F.cross_entropy(model(data[0][index]), data[1][index]).backward()
                recorder.batch(index)
            optimizer.step()
    model.eval()
    return run


def explained(run: Run, keep: tuple[str, ...], **options: object):
    options = {"tolerance": 1e-10, "max_nodes": 243, "tail_tolerance": 0, **options}
    return explaind.influence(
        run.path, run.model, run.loss, train=run.train, test=run.test[0], keep=keep, **options
    )


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=situation("Randomness in the model", name, EXACT)) for name in MODELS]
)
def test_random_operations_are_replayed(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    run = train(tmp_path / "run.zarr", MODELS[name]())
    assert all(batch.forward is not None for batch in run.trajectory.step(0).batches)
    reference = run.reference(nodes=16)
    assert reference.replay < 1e-11, "the definition itself must rebuild the run"
    before = torch.get_rng_state()
    scores = explained(run, ("step", "train", "test", "output"))
    truth = reference.influence.sum(1)
    assert float(truth.abs().max()) > 1e-3
    torch.testing.assert_close(torch.tensor(scores.kernel.values), truth, atol=1e-8, rtol=1e-8)
    summed = explained(run, ("layer", "test", "output"))
    assert float(abs(summed.residual).max()) <= 1e-8
    assert torch.equal(before, torch.get_rng_state())
    assert explaind.verify(run.path, run.model, run.loss, train=run.train, test=run.test).attrs["passed"]


def test_masks_are_those_of_the_run_in_another_precision(tmp_path: Path) -> None:
    """A float32 run is evaluated in float64 at small tolerances, where torch.rand would draw other numbers."""
    torch.manual_seed(3)
    for name in ("noise from torch.randn_like and torch.rand", "dropout inside nn.MultiheadAttention"):
        run = train(tmp_path / f"{name[:7]}.zarr", MODELS[name](), dtype=torch.float32)
        assert explained(run, ("train", "test"), tolerance=1e-2).attrs["replay_worst"] < 1e-4
        exact = explained(run, ("train", "test"), tolerance=1e-6)
        assert exact.attrs["dtype"] == "float64" and exact.attrs["replay_worst"] < 1e-4
        explained(run, ("step", "train", "test"), tolerance=1e-6)


def test_rows_by_tangents_use_the_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    run = train(tmp_path / "run.zarr", MODELS["dropout in a Transformer layer"]())
    formed = explained(run, ("layer", "train", "test", "output"))
    monkeypatch.setattr(sys.modules["explaind.attribution.plan"], "cheaper", lambda problem, rows: True)
    products = explained(run, ("layer", "train", "test", "output"))
    torch.testing.assert_close(
        torch.tensor(products.kernel.values), torch.tensor(formed.kernel.values), atol=1e-10, rtol=0
    )


def test_recording_a_random_model_changes_nothing(tmp_path: Path) -> None:
    def trained(record: bool) -> Tensor:
        torch.manual_seed(0)
        model = MODELS["dropout in a Transformer layer"]()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        x, y = make_data(dtype=torch.float32)[0]
        with explaind.record(tmp_path / "run.zarr", model, optimizer) if record else nullcontext() as run:
            for _ in range(4):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                if run is not None:
                    run.batch(range(7))
                optimizer.step()
        return torch.cat([*(p.detach().flatten() for p in model.parameters()), torch.rand(3)])

    assert torch.equal(trained(False), trained(True))


@situation(
    "Randomness in the model",
    "forward passes that no batch was announced for, with gradients",
    refused("the passes cannot be told apart"),
)
def test_a_pass_too_many_is_refused(tmp_path: Path) -> None:
    model = MODELS["dropout"]()
    x, y = make_data(dtype=torch.float32)[0]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with (
        pytest.raises(RecordingError, match="1 announced batches and 2 forward passes"),
        explaind.record(tmp_path / "run.zarr", model, optimizer) as run,
    ):
        (F.cross_entropy(model(x), y) + model(x).square().mean()).backward()
        run.batch(range(7))
        optimizer.step()


@situation(
    "Randomness in the model",
    "parts of a model with dropout that the loop calls by themselves",
    refused("the forward pass of the model itself is what is seen"),
)
def test_calls_past_the_model_are_refused(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    x, y = make_data(dtype=torch.float32)[0]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with (
        pytest.raises(RecordingError, match="Dropout '1' uses dropout with p=0.5 .* no forward pass"),
        explaind.record(tmp_path / "run.zarr", model, optimizer) as run,
    ):
        F.cross_entropy(model[1](model[0](x)), y).backward()
        run.batch(range(7))
        optimizer.step()


@situation(
    "Randomness in the model",
    "numbers that were drawn on another kind of processor",
    refused("its generator draws others from the same state"),
)
def test_another_kind_of_processor_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    run = train(tmp_path / "run.zarr", MODELS["dropout"]())
    recorded = trajectory.noted

    def elsewhere(note: list, generator: Tensor | None) -> ForwardPass:
        return recorded(["cuda", *note[1:]], generator)

    monkeypatch.setattr(trajectory, "noted", elsewhere)
    with pytest.raises(QueryError, match="drew its random numbers on cuda"):
        explained(run, ("layer", "test"))


@situation(
    "Randomness in the model",
    "random numbers of NumPy or Python",
    refused("their generators are not recorded"),
)
def test_other_generators_are_refused(tmp_path: Path) -> None:
    import random

    source = random.Random(0)
    torch.manual_seed(3)
    model = Noisy(lambda m, h: h * source.random() if m.training else h)
    run = train(tmp_path / "run.zarr", model)
    with pytest.raises(ExplaindError, match="cannot be rebuilt"):
        explained(run, ("train", "test"))
