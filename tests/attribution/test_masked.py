"""The model in training mode with a stated mask as the explained function: equal to the definition with torch's own masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import explaind
from explaind.errors import QueryError
from explaind.features.masked import chosen_tests
from explaind.reference.recordings import model_value
from tests.attribution.test_randomness import MODELS, Noisy, train
from tests.attribution.tiny import Net, Run, record_run
from tests.situations import EXACT, refused, situation

SEED = 7
TIGHT = {"tolerance": 1e-10, "max_nodes": 243, "tail_tolerance": 0}
KINDS = (
    "dropout", "dropout in place", "alpha dropout", "randomised ReLU (RReLU)", "the same with attention weights returned",
    "dropout in scaled_dot_product_attention", "dropout in a Transformer layer", "dropout between LSTM layers",
    "dropout between GRU layers", "stochastic depth", "noise from torch.randn_like and torch.rand",
    "dropped weights (DropConnect)",
)  # fmt: skip


def with_torchs_masks(run: Run, seed: int) -> Callable[..., Tensor]:
    """f of all test samples in training mode, the generator started with the seed before each evaluation."""
    value = model_value(run.model, run.test[0])

    def masked(*parameters: object) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            run.model.train()
            try:
                return value(*parameters)
            finally:
                run.model.eval()

    return masked


def explained(run: Run, keep: tuple[str, ...], seed: int = SEED, **options: object):
    return explaind.influence(
        run.path,
        run.model,
        run.loss,
        train=run.train,
        test=explaind.Masked(run.test, seed),
        keep=keep,
        **(TIGHT | options),
    )


@situation("Randomness in the model", "a test sample in training mode, with a mask that is stated", EXACT)
@pytest.mark.parametrize("name", KINDS)
def test_a_stated_mask_is_explained_exactly(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    run = train(tmp_path / "run.zarr", MODELS[name]())
    reference = run.reference(with_torchs_masks(run, SEED), nodes=16)
    before = torch.get_rng_state()
    scores = explained(run, ("step", "train", "test", "output"))
    truth = reference.influence.sum(1)
    torch.testing.assert_close(torch.tensor(scores.kernel.values), truth, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(torch.tensor(scores.final.values), reference.final, atol=1e-12, rtol=0)
    summed = explained(run, ("layer", "test", "output"))
    assert float(abs(summed.residual).max()) <= 1e-8
    assert torch.equal(before, torch.get_rng_state())
    assert "seed 7" in summed.attrs["masks"] and "masks" not in influence_in_evaluation(run).attrs


def influence_in_evaluation(run: Run):
    return explaind.influence(run.path, run.model, run.loss, train=run.train, test=run.test, keep=("test",))


def test_another_seed_is_another_function(tmp_path: Path) -> None:
    torch.manual_seed(3)
    run = train(tmp_path / "run.zarr", MODELS["dropout"]())
    one, again, other = (explained(run, ("train", "test"), seed) for seed in (SEED, SEED, 8))
    assert one.equals(again) and not one.final.equals(other.final)
    assert not one.final.equals(influence_in_evaluation(run).final)


@pytest.mark.parametrize("target", ["loss", "margin", "first"])
def test_every_target_and_precision_keeps_the_masks(target: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    run = train(tmp_path / "run.zarr", MODELS["dropout"](), dtype=torch.float32)
    coarse, fine = (explained(run, ("layer", "test"), target=target, tolerance=t) for t in (1e-2, 1e-8))
    assert (coarse.attrs["dtype"], fine.attrs["dtype"]) == ("float32", "float64")
    torch.testing.assert_close(
        torch.tensor(coarse.final.values).double(), torch.tensor(fine.final.values), atol=1e-5, rtol=1e-5
    )
    assert float(abs(fine.residual).max()) < 1e-5  # the float32 parameters' own rounding


def test_inputs_of_several_tensors_keep_their_masks(tmp_path: Path) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.drop = Net(), nn.Dropout(0.5)

        def forward(self, x: Tensor, shift: Tensor) -> Tensor:
            return self.net(self.drop(x) + shift[:, None])

    plain = record_run(tmp_path / "unused.zarr", lambda m: torch.optim.SGD(m.parameters(), lr=0.1))
    model, (x, y) = Two().double(), plain.train
    inputs = {"x": x, "shift": x[:, 0]}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)  # short steps, whose integrals take few nodes
    with explaind.record(tmp_path / "run.zarr", model, optimizer) as recorder:
        for _ in range(3):
            optimizer.zero_grad()
            plain.loss(model(**inputs), y).backward()
            recorder.batch(range(len(y)))
            optimizer.step()
    scores = explaind.influence(
        tmp_path / "run.zarr", model, plain.loss, train={**inputs, "labels": y},
        test=explaind.Masked({**inputs, "labels": y}, SEED), keep=("train", "test", "output"), **TIGHT,
    )  # fmt: skip
    torch.manual_seed(SEED)
    torch.testing.assert_close(
        torch.tensor(scores.final.values), model.train()(**inputs).detach(), atol=1e-12, rtol=0
    )
    assert float(abs(scores.residual).max()) < 1e-8


def with_batch_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 3))


REFUSED = {
    "nothing is drawn": (Net, SEED, "draws no random numbers"),
    "samples are normalised together": (with_batch_norm, SEED, "normalises the test samples together"),
    "a seed in words": (MODELS["dropout"], "seven", "seed of explaind.Masked is not usable"),
    "a seed too large": (MODELS["dropout"], 1 << 64, "seed of explaind.Masked is not usable"),
    "a negative seed": (MODELS["dropout"], -1, "seed of explaind.Masked is not usable"),
    "a generator that is not torch's": (
        lambda: Noisy(lambda m, h: torch.nn.functional.dropout(h, 0.3, m.training) * next(COUNTED)),
        SEED,
        "change from call to call",
    ),
}
COUNTED = iter(range(1, 1 << 20))


@situation(
    "Randomness in the model",
    "a stated mask for a model that normalises test samples together, or draws nothing",
    refused("there is no function of each sample alone; without dropout there is no mask"),
)
@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_stated_mask_is_refused(case: str, tmp_path: Path) -> None:
    make, seed, said = REFUSED[case]
    torch.manual_seed(3)
    run = record_run(
        tmp_path / "run.zarr", lambda m: torch.optim.SGD(m.parameters(), lr=0.1), model=make().eval()
    )
    with pytest.raises(QueryError, match=said):
        explaind.influence(run.path, run.model, test=explaind.Masked(run.test, seed), keep=("test",))


def test_a_few_samples_keep_the_masks_of_all(tmp_path: Path) -> None:
    torch.manual_seed(3)
    run = train(tmp_path / "run.zarr", MODELS["dropout"]())
    whole = explained(run, ("train", "test", "output"))
    last = chosen_tests(chosen_tests(explaind.Masked(run.test, SEED), slice(1, 3)), [1])
    scores = explaind.influence(
        run.path, run.model, run.loss, train=run.train, test=last, keep=("train", "test", "output"), **TIGHT
    )
    for name in ("kernel", "final"):
        torch.testing.assert_close(
            torch.tensor(scores[name].isel(test=0).values),
            torch.tensor(whole[name].isel(test=2).values),
            atol=1e-9,
            rtol=0,
        )


@pytest.mark.parametrize("only", [(), (9,), (-1,), (0.5,), (True,)])
def test_samples_that_are_not_there_are_refused(only: tuple, tmp_path: Path) -> None:
    torch.manual_seed(3)
    run = train(tmp_path / "run.zarr", MODELS["dropout"]())
    with pytest.raises(QueryError, match="explained samples of explaind.Masked"):
        explaind.influence(run.path, run.model, test=explaind.Masked(run.test, SEED, only), keep=("test",))


def test_the_first_tests_are_chosen_in_every_form() -> None:
    x, y = torch.arange(12.0).reshape(6, 2), torch.arange(6)
    for given in ((x, y), (x.numpy(), y.numpy()), torch.utils.data.TensorDataset(x, y)):
        inputs, targets = chosen_tests(given, [4, 1])
        assert torch.equal(inputs, x[[4, 1]]) and torch.equal(targets, y[[4, 1]])
    assert torch.equal(chosen_tests(x, slice(0, 2)), x[:2])
    inputs, targets = chosen_tests({"x": x, "labels": y}, slice(0, 2))
    assert torch.equal(inputs["x"], x[:2]) and torch.equal(targets, y[:2])
    inputs, targets = chosen_tests({"x": x}, slice(0, 2))
    assert torch.equal(inputs["x"], x[:2]) and targets is None
