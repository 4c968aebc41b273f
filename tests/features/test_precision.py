"""Runs in float32 evaluated in float64: constants in model and loss follow, or what clashes is refused in words."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import explaind
from explaind.errors import QueryError
from tests.attribution.tiny import Net, Run, record_run
from tests.features.brute import SUMMED, check_by_definition, explained, momentum

WEIGHTS = torch.tensor([1.0, 2.0, 0.5])
MIXED = r"made in float32, but at this tolerance it is evaluated in float64.*tolerance=1e-3"


class Held(Net):
    """Constants as plain attributes: a number, a tensor, and tensors in a list and in a dictionary."""

    def __init__(self) -> None:
        super().__init__(hidden=2)
        self.scale, self.shift = torch.tensor(0.75), [torch.tensor([0.5, 0.25, 1.0])]
        self.mix = {"matrix": torch.eye(3) + 0.5}

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * (super().forward(x) + self.shift[0]) @ self.mix["matrix"]


class Made(Net):
    """Constants that the forward pass makes in the default dtype."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x @ torch.eye(3)) @ torch.full((3, 3), 0.5) + torch.ones(3)


class Held64(Held):
    """The same with constants in float64, as a reference needs them."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = self.scale.double(), [self.shift[0].double()]
        self.mix = {"matrix": self.mix["matrix"].double()}


class Made64(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) @ torch.full((3, 3), 0.5).to(x) + 1.0


def definition(run: Run, model: nn.Module, loss: Callable | None = None) -> Run:
    """The same recording with model, loss and samples in float64."""
    train, test = ((x.double(), y) for x, y in (run.train, run.test))
    return Run(run.path, model.double(), loss or run.loss, train, test, run.batches)


@pytest.mark.parametrize(("kind", "double"), [(Held, Held64), (Made, Made64)])
def test_constants_of_the_model(kind: type[nn.Module], double: type[nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = kind(hidden=2) if kind is Made else kind()
    run = record_run(tmp_path / "run.zarr", momentum, model=model, steps=2, dtype=torch.float32)
    twin = double(hidden=2) if double is Made64 else double()
    reference = definition(run, twin).reference(nodes=8)
    whole = reference.influence
    before = torch.get_default_dtype()
    for keep, expected in (
        (("train", "test", "output"), whole.sum((0, 1))),
        (("parameter", "test"), whole.sum((0, 2, 4))),
        (("step", "test", "output"), whole.sum((1, 2))),
    ):
        scores = explained(run, keep)
        assert scores.attrs["dtype"] == "float64"
        torch.testing.assert_close(torch.tensor(scores.kernel.values), expected, atol=1e-6, rtol=0)
    assert torch.get_default_dtype() == before
    if kind is Held:
        assert (model.scale.dtype, model.shift[0].dtype, model.mix["matrix"].dtype) == (torch.float32,) * 3


class Weighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = WEIGHTS.clone()

    def forward(self, f: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(f, y, weight=self.weights)


def weighted64(f: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(f, y, weight=WEIGHTS.double())


def one_hot(f: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(f @ torch.eye(3), F.one_hot(y, 3).float())


LOSSES = {
    "module": (nn.CrossEntropyLoss(weight=WEIGHTS), weighted64),
    "attribute": (Weighted(), weighted64),
    "partial": (partial(F.cross_entropy, weight=WEIGHTS), weighted64),
    "promotes": (
        lambda f, y: (WEIGHTS[y] * F.cross_entropy(f, y, reduction="none")).sum() / WEIGHTS[y].sum(),
        weighted64,
    ),
    "made inside": (one_hot, lambda f, y: F.mse_loss(f, F.one_hot(y, 3).double())),
}


@pytest.mark.parametrize("name", LOSSES)
def test_constants_of_the_loss(name: str, tmp_path: Path) -> None:
    loss, double = LOSSES[name]
    run = record_run(
        tmp_path / "run.zarr", momentum, model=Net(hidden=2), steps=2, loss=loss, dtype=torch.float32
    )
    reference = definition(run, Net(hidden=2), double).reference(nodes=8)
    scores = explained(run, ("train", "test", "output"))
    torch.testing.assert_close(
        torch.tensor(scores.kernel.values), reference.influence.sum((0, 1)), atol=1e-6, rtol=0
    )
    own = explained(run, ("layer", "test"), target="loss", test=run.test)
    assert float(abs(own.residual).max()) < 1e-6
    if isinstance(loss, nn.CrossEntropyLoss):
        assert loss.weight.dtype == torch.float32


def closure(f: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(f, y, weight=WEIGHTS)


def test_a_closure_over_float32_is_refused_and_answered_in_float32(tmp_path: Path) -> None:
    keep = ("train", "test")
    run = record_run(
        tmp_path / "run.zarr", momentum, model=Net(hidden=2), steps=2, loss=closure, dtype=torch.float32
    )
    with pytest.raises(QueryError, match=MIXED):
        explained(run, keep)
    assert explained(run, keep, tolerance=1e-3).attrs["dtype"] == "float32"
    # Whole batches are evaluated as in training, in float32, whatever the tolerance.
    assert explained(run, SUMMED).attrs["dtype"] == "float64"


def test_a_target_and_a_model_that_close_over_float32(tmp_path: Path) -> None:
    matrix = torch.eye(3)

    class Closes(Net):
        def forward(self, x: Tensor) -> Tensor:
            return F.linear(super().forward(x), matrix)

    plain, closes = (
        record_run(
            tmp_path / f"{kind.__name__}.zarr", momentum, model=kind(hidden=2), steps=2, dtype=torch.float32
        )
        for kind in (Net, Closes)
    )
    with pytest.raises(QueryError, match=MIXED):
        explaind.influence(
            plain.path, plain.model, test=plain.test, target=lambda f, y: f @ matrix, tolerance=1e-5
        )
    with pytest.raises(QueryError, match=MIXED):
        explaind.influence(closes.path, closes.model, test=closes.test, tolerance=1e-5)


def test_a_double_run_is_left_as_it_is(tmp_path: Path) -> None:
    """Nothing is converted where the run itself was in float64."""
    run = record_run(tmp_path / "run.zarr", momentum, model=Held64(), steps=2)
    check_by_definition(run, keeps=[SUMMED])
