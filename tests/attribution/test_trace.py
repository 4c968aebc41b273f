"""Tracing: the same numbers with less work, for the layers that models are made of; or no tracing at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx, nn
from torch.func import functional_call, grad, jvp, vmap

from explaind.features.functional import math_attention
from explaind.features.trace import trace
from tests.attribution.layers import MODELS


def products(model: nn.Module) -> Callable[..., list[Tensor]]:
    """Per parameter tensor: the Jacobian-vector product along it, as forward mode forms them, and per-sample gradients."""
    names = [name for name, _ in model.named_parameters()]

    def function(*arguments: Tensor) -> list[Tensor]:
        theta = dict(zip(names, arguments, strict=False))
        terms = dict(zip(names, arguments[len(names) :], strict=False))
        x = arguments[-1]
        found = []
        for name in names:

            def value(part: Tensor, name: str = name) -> Tensor:
                with math_attention():
                    return functional_call(model, {**theta, name: part}, (x,))

            along = lambda term, name=name, value=value: jvp(value, (theta[name],), (term,))[1]  # noqa: E731
            found.append(vmap(along)(terms[name]))

        def one(parameters: dict[str, Tensor], sample: Tensor) -> Tensor:
            with math_attention():
                return functional_call(model, parameters, (sample.unsqueeze(0),)).square().sum()

        rows = vmap(grad(one), in_dims=(None, 0))(theta, x)
        found.append(torch.cat([rows[name].flatten(1) for name in names], dim=1))
        return found

    return function


def arguments(model: nn.Module, seed: int, samples: int = 5) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    theta = [p.detach() + 0.1 * torch.randn(p.shape, generator=generator).to(p) for p in model.parameters()]
    terms = [torch.randn(2, *p.shape, generator=generator).to(p) for p in model.parameters()]
    return [*theta, *terms, torch.randn(samples, 3, generator=generator).double()]


@pytest.mark.parametrize("name", MODELS)
def test_traced_equals_plain_on_other_values(name: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name]().double().eval().requires_grad_(False)
    function = products(model)
    traced = trace(function, *arguments(model, 1))
    assert isinstance(traced, fx.GraphModule), "the function was not traced"
    for seed in (2, 3):
        given = arguments(model, seed)
        kept = [part.clone() for part in given]
        with torch.no_grad():
            for ours, plain in zip(traced(*given), function(*given), strict=True):
                torch.testing.assert_close(ours, plain, atol=1e-13, rtol=1e-12)
        assert all(torch.equal(a, b) for a, b in zip(given, kept, strict=True)), "an argument was written to"


def operations(function: Callable) -> int:
    assert isinstance(function, fx.GraphModule)
    return sum(node.op == "call_function" for node in function.graph.nodes)


def test_the_shared_forward_pass_is_computed_once_and_zeros_not_at_all() -> None:
    """Products along five layers share one forward pass, and cost far less than five times one of them."""
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(5)]
    model = nn.Sequential(*layers).double().requires_grad_(False)
    theta = {name: p.detach() for name, p in model.named_parameters()}
    names, x = list(theta), torch.randn(4, 3).double()

    def along(only: list[str]) -> Callable[..., list[Tensor]]:
        def function(*given: Tensor) -> list[Tensor]:
            at, terms = (dict(zip(names, part, strict=True)) for part in (given[:10], given[10:20]))
            found = []
            for name in only:
                value = lambda p, name=name: functional_call(model, {**at, name: p}, (given[-1],))  # noqa: E731
                found.append(jvp(value, (at[name],), (terms[name],))[1])
            return found

        return function

    given = [*theta.values(), *(torch.randn_like(p) for p in theta.values()), x]
    weights = [name for name in names if name.endswith("weight")]
    single = [operations(trace(along([name]), *given)) for name in weights]
    together = operations(trace(along(weights), *given))
    forward = operations(
        trace(lambda *g: [functional_call(model, dict(zip(names, g, strict=False)), (g[-1],))], *given)
    )
    assert together <= sum(single) - 4 * (forward - 2)  # the last layer's own output need not be computed
    assert single == sorted(single, reverse=True), "the tangent of a later layer passes fewer layers"
    assert single[0] > single[-1]


def test_terms_that_are_zero_disappear() -> None:
    def function(a: Tensor, b: Tensor) -> list[Tensor]:
        zero = torch.zeros_like(a)
        return [a + zero @ b.T @ b, (zero * b).sum(0) + b, a - zero, torch.tanh(a) + torch.tanh(a)]

    given = (torch.randn(3, 3), torch.randn(3, 3))
    traced = trace(function, *given)
    for ours, plain in zip(traced(*given), function(*given), strict=True):
        torch.testing.assert_close(ours, plain)
    targets = [node.target for node in traced.graph.nodes if node.op == "call_function"]
    assert torch.ops.aten.mm.default not in targets
    assert targets.count(torch.ops.aten.tanh.default) == 1


def test_random_numbers_are_not_merged() -> None:
    traced = trace(lambda a: [torch.rand_like(a), torch.rand_like(a)], torch.zeros(50))
    one, two = traced(torch.zeros(50))
    assert not torch.equal(one, two)


def test_what_cannot_be_traced_is_evaluated_as_it_is() -> None:
    function = lambda a: [a if float(a.sum()) > 0 else -a]  # noqa: E731
    assert trace(function, torch.ones(2)) is function
    assert trace(lambda a: [a if float(a.sum()) > 0 else -a], torch.ones(2))(-torch.ones(2))[0].tolist() == [
        1,
        1,
    ]
