"""A model whose samples mix, or that rolls dice, is refused before anything is attributed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import explaind
from explaind.errors import QueryError
from explaind.experiments.cifar2.model import ResNet9
from explaind.experiments.eurollm.model import make_llama
from explaind.experiments.grokking.model import ModuloTransformer
from explaind.experiments.mnist.model import DigitNet
from explaind.features.functional import math_attention
from explaind.features.independence import check_gradients, check_outputs
from explaind.features.samples import Samples
from tests.attribution.layers import MODELS
from tests.updates.tiny import CONFIG

TOKENS = torch.randint(0, 5, (10, 4), generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(10) % 2


class Net(nn.Module):
    """Token means through two layers, with a place where samples may mix."""

    def __init__(self, mix: str, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mix = mix
        self.embed = nn.Embedding(5, 4, scale_grad_by_freq=mix == "frequency")
        self.out = nn.Linear(4, 2)
        self.gate = nn.Parameter(torch.zeros(()))
        self.to(dtype)

    def forward(self, tokens: Tensor) -> Tensor:
        h = torch.tanh(self.embed(tokens).sum(1))
        if self.mix == "mean":
            h = h - 0.5 * h.mean(0)
        if self.mix == "gated":  # nothing mixes before training moved the gate
            h = h + (0.1 + self.gate) * 0 + self.gate * h.mean(0)
        if self.mix == "statistics":
            h = (h - h.mean(0)) / (h.std(0, unbiased=False) + 1)
        if self.mix == "attention":
            h = h + torch.softmax(h @ h.T, dim=1) @ h
        if self.mix == "noise":
            h = h + 0.01 * torch.randn_like(h)
        if self.mix == "dropout":
            h = F.dropout(h, 0.2, training=True)
        if self.mix == "straight":
            h = h + (torch.round(h) - h).detach()
        return self.out(h)


def trained(path: Path, mix: str, dtype: torch.dtype) -> nn.Module:
    model = Net(mix, dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    with explaind.record(path, model, optimizer) as run:
        for s in range(4):
            index = torch.tensor([s, s + 2, s + 3])
            optimizer.zero_grad()
            F.cross_entropy(model(TOKENS[index]), LABELS[index]).backward()
            if model.gate.grad is None:
                model.gate.grad = torch.zeros_like(model.gate)
            run.batch(index)
            optimizer.step()
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tests", [1, 2, 10])
@pytest.mark.parametrize("mix", ["mean", "gated", "statistics", "attention", "noise", "dropout", "frequency"])
def test_mixing_is_refused(tmp_path: Path, mix: str, tests: int, dtype: torch.dtype) -> None:
    model = trained(tmp_path / "run.zarr", mix, dtype)
    for options in ({}, {"train": (TOKENS, LABELS), "keep": ("train", "test")}):
        with pytest.raises(QueryError, match="depend|change from call to call"):
            explaind.influence(tmp_path / "run.zarr", model, F.cross_entropy, test=TOKENS[:tests], **options)


def test_a_backward_pass_that_is_no_derivative(tmp_path: Path) -> None:
    model = trained(tmp_path / "run.zarr", "straight", torch.float64)
    with pytest.warns(
        UserWarning
    ) as said:  # detach is a constant to both modes; rounding makes jumps, which quadrature shows
        explaind.influence(tmp_path / "run.zarr", model, F.cross_entropy, test=TOKENS[:2])
    assert any("quadrature" in str(one.message) for one in said)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_honest_model_gives_each_sample_the_same_answer_in_any_company(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    model = trained(tmp_path / "run.zarr", "", dtype)
    options: dict[str, Any] = {"train": (TOKENS, LABELS), "keep": ("train", "test", "output")}
    many, few = (
        explaind.influence(tmp_path / "run.zarr", model, F.cross_entropy, test=TOKENS[:n], **options)
        for n in (10, 3)
    )
    difference = abs(many.kernel[:, :3].values - few.kernel.values).max()
    assert difference <= (1e-5 if dtype == torch.float32 else 1e-12)


def looked_at(model: nn.Module, x: Tensor, dtype: torch.dtype) -> None:
    """Both looks at the outputs of a model."""
    model = model.to(dtype).eval().requires_grad_(False)

    def outputs(theta: Any, x: Tensor) -> Tensor:
        with math_attention():
            found = torch.func.functional_call(model, theta, (x,))
        return found if isinstance(found, Tensor) else found.logits

    theta = {name: part.detach() for name, part in model.named_parameters()}
    x = x.to(dtype) if x.is_floating_point() else x
    check_outputs(lambda p, x, y: outputs(p, x).flatten(1), theta, Samples(x, "test"), name="test")
    check_gradients(outputs, theta, x, name="test")


TOKEN_MODELS = ("transformer", "llama")
ORDINARY = {
    "transformer": (lambda: ModuloTransformer(tokens=7, width=8, heads=2, hidden=16), (4,)),
    "llama": (lambda: make_llama(CONFIG), (8,)),
    "digits": (lambda: DigitNet(channels=(2, 3), hidden=8), (1, 28, 28)),
    "images": (lambda: ResNet9(width=2, classes=2), (3, 32, 32)),
    **{name: (make, (3,)) for name, make in MODELS.items()},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 2, 3, 65])
@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_models_raise_no_alarm(name: str, count: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    make, shape = ORDINARY[name]
    x = torch.randint(0, 7, (count, *shape)) if name in TOKEN_MODELS else torch.randn(count, *shape)
    looked_at(make(), x, dtype)


class MeanTaken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.out(x)
        return h - 0.5 * h.mean(0)


@pytest.mark.parametrize("count", [1, 2, 3, 64, 65])
@pytest.mark.parametrize("equal", [True, False])
def test_neighbours_that_are_equal_hide_nothing(count: int, equal: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 3).expand(count, 3) if equal else torch.randn(count, 3)
    with pytest.raises(QueryError, match="depends on the other samples"):
        looked_at(MeanTaken(), x, torch.float64)


class Backwards(torch.autograd.Function):
    """The identity, with any factor in its derivatives; vmap may have its own."""

    generate_vmap_rule = False

    @staticmethod
    def forward(x: Tensor, reverse: float, forward: float, vectorised: float) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.factors = inputs[1:]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple:
        return g * ctx.factors[0], None, None, None

    @staticmethod
    def jvp(ctx: Any, t: Tensor, *rest: Any) -> Tensor:
        return t * ctx.factors[1]

    @staticmethod
    def vmap(info: Any, dims: tuple, x: Tensor, *factors: float) -> tuple[Tensor, int]:
        return Backwards.apply(x, factors[2], factors[1], factors[2]), dims[0]


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        ((1.0, 1.0, 1.0), None),
        ((-1.0, 1.0, -1.0), "not the derivative of its forward pass"),
    ],
)
def test_modes_of_differentiation_must_agree(factors: tuple[float, ...], said: str | None) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(3, 2).double().requires_grad_(False), torch.randn(3, 3).double()
    theta = {name: part.detach() for name, part in layer.named_parameters()}
    model = lambda p, x: Backwards.apply(torch.func.functional_call(layer, p, (x,)), *factors)  # noqa: E731
    if said is None:
        check_gradients(model, theta, x, name="test")
        return
    with pytest.raises(QueryError, match=said):
        check_gradients(model, theta, x, name="test")


class Edge(nn.Module):
    """A hidden unit 3e-9 above a ReLU's edge, rounded as kernels do: the other way in another batch; mixing if told to."""

    def __init__(self, mixes: bool = False) -> None:
        super().__init__()
        self.weight, self.mixes = nn.Parameter(torch.tensor([1.0, -1.0, 1.0])), mixes

    def forward(self, x: Tensor) -> Tensor:
        rounding = 2 * torch.finfo(x.dtype).eps * (1 if len(x) == 1 else -1)
        h = torch.relu((x * self.weight).sum(1, keepdim=True) + rounding)
        return h * (len(x) if self.mixes else 1) + self.weight[:2]


@pytest.mark.parametrize("mixes", [False, True])
def test_an_activation_on_an_edge_is_looked_at_in_float64(mixes: bool) -> None:
    x = torch.tensor([[0.5, 0.5, 3e-9]]).repeat(2, 1)
    module = Edge(mixes).requires_grad_(False)
    theta = {"weight": module.weight.detach()}
    model = lambda p, x: torch.func.functional_call(module, p, (x,))  # noqa: E731
    with pytest.raises(QueryError, match="depend on the other samples"):
        check_gradients(model, theta, x, name="test")
    if mixes:
        with pytest.raises(QueryError, match="depend on the other samples"):
            check_gradients(model, theta, x, name="test", precise=lambda: model)
    else:
        check_gradients(model, theta, x, name="test", precise=lambda: model)


def test_infinite_outputs_and_tiny_losses_raise_no_alarm() -> None:
    layer = nn.Linear(3, 2).requires_grad_(False)
    theta = {name: part.detach() for name, part in layer.named_parameters()}
    noise = iter(torch.linspace(0, 1e-7, 100))  # as the rounding of a loss near zero

    def value(p: Any, x: Tensor, y: Tensor | None) -> Tensor:
        return torch.stack([torch.full((len(x),), -torch.inf), torch.full((len(x),), 1e-7) + next(noise)], 1)

    check_outputs(value, theta, Samples(torch.randn(9, 3), "test"), name="test")
