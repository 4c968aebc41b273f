"""Plain twins of fused layers: equal to torch's own up to rounding, and explained in every mode."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from explaind.errors import QueryError
from explaind.features.plain_layers import use_plain_layers
from tests.attribution.tiny import record_run
from tests.features.brute import check_by_definition, explained, momentum


def plain(module: nn.Module) -> nn.Module:
    twin = copy.deepcopy(module)
    use_plain_layers(twin)
    assert "forward" in vars(twin)
    return twin


def flat(result: Any) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else [leaf for part in result for leaf in flat(part)]


def assert_alike(module: nn.Module, *arguments: Any) -> None:
    """Outputs, states and gradients of the twin are those of the module."""
    twin = plain(module)
    results = [flat(m(*arguments)) for m in (module, twin)]
    gradients = [
        torch.autograd.grad(sum(leaf.square().sum() for leaf in leaves), list(m.parameters()))
        for m, leaves in zip((module, twin), results, strict=True)
    ]
    exact = next(module.parameters()).dtype == torch.float64
    tolerance = {"rtol": 1e-12, "atol": 1e-12} if exact else {"rtol": 1e-4, "atol": 1e-5}
    for ours, theirs in zip(results[1] + list(gradients[1]), results[0] + list(gradients[0]), strict=True):
        torch.testing.assert_close(ours, theirs, **tolerance)


OPTIONS = [
    {},
    {"bias": False},
    {"num_layers": 2},
    {"bidirectional": True, "num_layers": 2},
    {"batch_first": True, "bidirectional": True},
]


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_recurrent_layers(kind: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    for more in [
        {},
        *([{"proj_size": 2}] if kind == "LSTM" else [{"nonlinearity": "relu"}] * (kind == "RNN")),
    ]:
        module = getattr(nn, kind)(3, 4, **options, **more).to(dtype)
        depth = module.num_layers * (2 if module.bidirectional else 1)
        width = module.proj_size or 4
        for shape, states in (((5, 2, 3), (depth, 2)), ((5, 3), (depth,))):
            x = torch.randn(shape, dtype=dtype)
            h, c = torch.randn(*states, width, dtype=dtype), torch.randn(*states, 4, dtype=dtype)
            if len(shape) == 3 and module.batch_first:
                x = x.transpose(0, 1)
            assert_alike(module, x)
            assert_alike(module, x, (h, c) if kind == "LSTM" else h)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["RNNCell", "GRUCell", "LSTMCell"])
def test_cells(kind: str, bias: bool) -> None:
    torch.manual_seed(0)
    module = getattr(nn, kind)(3, 4, bias=bias).double()
    for lead in ((2,), ()):
        x, h, c = (torch.randn(*lead, width, dtype=torch.float64) for width in (3, 4, 4))
        assert_alike(module, x)
        assert_alike(module, x, (h, c) if kind == "LSTMCell" else h)


@pytest.mark.parametrize(("slopes", "shape"), [(1, (3,)), (1, (2, 3)), (3, (2, 3)), (3, (2, 3, 4, 5))])
def test_prelu(slopes: int, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x.view(-1)[0] = 0.0
    assert_alike(nn.PReLU(slopes).double(), x)


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm_old_and_new(dim: int | None) -> None:
    x = torch.randn(4, 3, dtype=torch.float64)
    layer = nn.Linear(3, 2).double()
    with pytest.warns(FutureWarning, match="deprecated"):
        old = nn.utils.weight_norm(copy.deepcopy(layer), dim=dim)
    new = nn.utils.parametrizations.weight_norm(copy.deepcopy(layer), dim=dim)
    expected = layer(x)
    for module in (old, new):
        use_plain_layers(module)
        torch.testing.assert_close(module(x), expected, rtol=1e-13, atol=1e-13)


def test_a_subclass_with_a_forward_pass_of_its_own_keeps_it() -> None:
    class Doubled(nn.PReLU):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    class Named(nn.PReLU):
        pass

    for kind, replaced in ((Doubled, False), (Named, True)):
        module = kind()
        use_plain_layers(module)
        assert ("forward" in vars(module)) == replaced


class Layer(nn.Module):
    """A recurrent layer, or a cell by hand, over three numbers."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.recurrent, self.read = getattr(nn, kind)(1, 2), nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.recurrent, nn.RNNBase):
            return self.read(self.recurrent(x.T.unsqueeze(-1))[0][-1])
        state = None
        for column in x.split(1, dim=1):
            state = self.recurrent(column, state)
        return self.read(state[0] if isinstance(state, tuple) else state)


class Bent(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(3, 2), nn.PReLU(2), nn.Linear(2, 3))


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell", "PReLU"])
def test_explained_in_every_mode(kind: str, tmp_path: Path) -> None:
    run = record_run(
        tmp_path / "run.zarr", momentum, model=Bent() if kind == "PReLU" else Layer(kind), steps=2
    )
    check_by_definition(run, atol=1e-5 if kind == "PReLU" else 1e-6)  # a kink costs quadrature nodes


@pytest.mark.parametrize("kind", ["LSTM", "GRUCell"])
def test_float32_runs_evaluated_in_both_precisions(kind: str, tmp_path: Path) -> None:
    run = record_run(tmp_path / "run.zarr", momentum, model=Layer(kind), steps=2, dtype=torch.float32)
    coarse, fine = (explained(run, ("layer", "test"), tolerance=t) for t in (1e-2, 1e-6))
    assert (coarse.attrs["dtype"], fine.attrs["dtype"]) == ("float32", "float64")
    torch.testing.assert_close(
        torch.tensor(coarse.kernel.values).double(), torch.tensor(fine.kernel.values), atol=1e-3, rtol=0
    )


def test_packed_sequences_are_refused(tmp_path: Path) -> None:
    class Packs(Layer):
        def forward(self, x: Tensor) -> Tensor:
            packed = pack_padded_sequence(x.T.unsqueeze(-1), torch.full((len(x),), 3))
            return self.read(self.recurrent(packed)[1][-1])

    run = record_run(tmp_path / "run.zarr", momentum, model=Packs("GRU"), steps=2)
    with pytest.raises(QueryError, match=r"sequences that are packed.*Pad the sequences"):
        explained(run, ("layer", "test"))
