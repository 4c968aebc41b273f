"""A trace never stands for a function that it is not: what reads values is not traced, and what drifts later is an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.func import grad, vmap

import explaind
from explaind.errors import QueryError, TraceError
from explaind.features import batched, spot_check, trace
from explaind.features.agreement import ROUNDINGS, differing_entry, first_difference
from explaind.features.batched import Batched, untraced
from explaind.features.quadrature import adaptive
from tests.attribution.layers import MODELS
from tests.attribution.tiny import record_run

X = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.25, -1.0], [2.0, 1.0, 3.0]], dtype=torch.float64)


def lengths(h: Tensor, x: Tensor) -> Tensor:
    return torch.stack([a[t > 0].sum(0) / len(t[t > 0]) for a, t in zip(h, x, strict=True)])


READS: dict[str, Callable[[Tensor], Any]] = {
    "lengths": lambda x: lengths(x, x),
    "float": lambda x: x if float(x.mean()) > 0 else -x,
    "bool": lambda x: x if x.sum() > 0 else -x,
    "int": lambda x: x * int((x > 0).sum()),
    "tolist": lambda x: x * x.sum(1).tolist()[0],
    "numpy": lambda x: x * float(x.numpy()[0, 0]),
    "equal": lambda x: x if torch.equal(x, x.abs()) else -x,
    "allclose": lambda x: x if torch.allclose(x, x.abs()) else -x,
    "loop": lambda x: torch.stack([a if float(a.sum()) > 0 else -a for a in x]),
    "slice": lambda x: x * x[0, : (x[0] > 0).sum()].sum(),
    "range": lambda x: x * len(range((x > 0).sum())),
    "nonzero": lambda x: x * len(x.nonzero()),
    "where": lambda x: x * len(torch.where(x > 0)[0]),
    "mask": lambda x: x * len(x[x > 0]),
    "byte mask": lambda x: x * len(x.masked_select((x > 0).to(torch.uint8).bool())),
    "assignment": lambda x: x.clone().index_put((x > 0,), torch.zeros((), dtype=x.dtype)),
    "masked_select": lambda x: x * x.masked_select(x > 0).mean(),
    "unique": lambda x: x * len(x.sign().unique()),
    "repeat_interleave": lambda x: x * len(torch.repeat_interleave(x[0], (x[0] > 0).long())),
    "bincount": lambda x: x * len(torch.bincount((x[:, 0] > 1).long())),
    "one_hot": lambda x: x * nn.functional.one_hot((x[:, 0] > 1).long()).sum(),
    "packed": lambda x: x * nn.utils.rnn.pack_padded_sequence(
        x[:, :, None].clone(), (x > 0).sum(1).clamp(min=1), batch_first=True, enforce_sorted=False
    ).data.mean(),
}  # fmt: skip


@pytest.mark.parametrize("name", READS)
def test_what_reads_values_is_not_traced(name: str) -> None:
    function = lambda x: [READS[name](x)]  # noqa: E731
    assert trace.trace(function, X) is function
    exact = {"rtol": 0, "atol": 0, "equal_nan": True}
    torch.testing.assert_close(trace.trace(function, X)(-X)[0], function(-X)[0], **exact)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: [x[torch.arange(len(x)), x.argmax(1)]],
        lambda x: [torch.where(x > 0, x, 2 * x)],
        lambda x: [x.masked_fill(x > 0, 0.0)],
        lambda x: [x * torch.tensor([1.0, 2.0, 3.0], dtype=x.dtype)],
    ],
)
def test_what_chooses_by_tensors_is_traced(function: Callable) -> None:
    traced = trace.trace(function, X)
    assert isinstance(traced, fx.GraphModule)
    assert torch.equal(traced(-X)[0], function(-X)[0])


def test_a_trace_must_agree_on_other_samples_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the operations that read values not noticed, other samples would show the frozen lengths."""
    monkeypatch.setattr(trace, "_value_reader", lambda graph: None)
    function = lambda w, x: [w * lengths(x, x)[:, None]]  # noqa: E731
    assert isinstance(trace.trace(function, X[0], X), fx.GraphModule), "on its own arguments it agrees"
    assert spot_check.spot_checked(function, 0, [X[0]], [X], ()) is None
    assert spot_check.spot_checked(lambda w, x: [w * x], 0, [X[0]], [X], ()) is not None


class Door:
    """A function that depends on something besides its arguments, as a forward pass that keeps a counter does."""

    def __init__(self) -> None:
        self.factor = 1.0
        self.calls = 0

    def __call__(self, w: Tensor, x: Tensor) -> list[Tensor]:
        self.calls += 1
        return [w * x * self.factor]


@pytest.mark.parametrize("axis", [0, None])
def test_a_trace_that_drifts_is_found_within_the_interval(axis: int | None, monkeypatch) -> None:
    monkeypatch.setattr(spot_check, "RAREST", spot_check.EVERY)
    door = Door()
    function = door if axis == 0 else lambda w, x: [door(w, x)[0].sum(0)]
    evaluate = Batched(function, axis=axis)
    for _ in range(batched.PLAIN_CALLS + 1):
        evaluate([X[0]], [X.clone()])
    before, calls = spot_check.traced_calls(), door.calls
    door.factor = 1.01
    with pytest.raises(TraceError, match=r"differs from the model itself.*untraced"):
        for _ in range(spot_check.EVERY):
            evaluate([X[0]], [X.clone()])
    assert 0 < spot_check.traced_calls() - before <= spot_check.EVERY
    assert door.calls - calls <= 2, "plain evaluations are rare"
    with untraced():
        fresh = Batched(function, axis=axis)
        before = spot_check.traced_calls()
        for _ in range(12):
            torch.testing.assert_close(fresh([X[0]], [X])[0], function(X[0], X)[0])
        assert spot_check.traced_calls() == before


def test_every_block_of_samples_that_come_again_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spot_check, "EVERY", 1 << 30)
    monkeypatch.setattr(spot_check, "RAREST", 1 << 30)
    monkeypatch.setattr(batched, "BLOCK_ENTRIES", 8 * 3)
    door, generator = Door(), torch.Generator().manual_seed(0)
    evaluate = Batched(door, axis=0)
    one, two = (torch.randn(20, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    for _ in range(6):
        evaluate([X[0]], [one])
    door.factor = 2.0
    evaluate([X[0]], [one])  # compared before, each block
    evaluate([X[0]], [two])
    with pytest.raises(TraceError):
        evaluate([X[0]], [two])


def test_a_wrong_trace_is_not_taken_for_curvature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spot_check, "EVERY", 1 << 30)
    monkeypatch.setattr(spot_check, "RAREST", 1 << 30)
    monkeypatch.setattr(batched, "PLAIN_CALLS", 0)
    door = Door()
    run = Batched(door, axis=0)
    options = {"tolerance": 1e-9, "max_nodes": 9, "axis": 0}

    def evaluate(t: float, index: Tensor | None) -> list[Tensor]:
        return run([t * X[0]], [X if index is None else X[index]])

    exact = 0.5 * X[0] * X
    assert adaptive(evaluate, lambda p: p[0], exact, **options).nodes.max() == 1
    wrong = exact.clone()
    wrong[1] += 0.5
    assert adaptive(evaluate, lambda p: p[0], wrong, **options).nodes.tolist() == [
        1,
        9,
        1,
    ]  # no trace is to blame
    door.factor = 1.5
    with pytest.raises(TraceError):
        adaptive(evaluate, lambda p: p[0], exact * 1.5, **options)


class Lengths(nn.Module):
    """Means over as many entries as each sample has: their number depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(1, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x.unsqueeze(-1)))
        return self.second(
            torch.stack([a[t > 0].sum(0) / max(1, len(t[t > 0])) for a, t in zip(h, x, strict=True)])
        )


class Branches(nn.Module):
    """One of two paths, by each sample's own values."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.second(
            torch.stack([torch.tanh(a) if float(t.sum()) > 0 else 0.3 * a for a, t in zip(h, x, strict=True)])
        )


@pytest.mark.parametrize("plain_calls", [0, batched.PLAIN_CALLS])
@pytest.mark.parametrize("kind", [Lengths, Branches])
def test_models_that_read_values_equal_the_definition_or_are_refused(
    kind: type[nn.Module], plain_calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batched, "PLAIN_CALLS", plain_calls)
    adamw = lambda m: torch.optim.AdamW(m.parameters(), lr=0.02, weight_decay=0.5)  # noqa: E731
    run = record_run(tmp_path / "run.zarr", adamw, model=kind(), steps=2)
    reference = run.reference(nodes=12)
    options: dict[str, Any] = {"train": run.train, "test": run.test[0], "tolerance": 1e-10, "max_nodes": 243}
    scores = explaind.influence(
        run.path, run.model, run.loss, keep=("step", "layer", "test", "output"), **options
    )
    by_layer = torch.tensor(scores.kernel.values).sum(1)
    torch.testing.assert_close(by_layer, reference.influence.sum((1, 2)), atol=2e-8, rtol=0)
    assert float(abs(scores.residual).max()) < 1e-8
    with pytest.raises(QueryError, match="sample by sample"):
        explaind.influence(run.path, run.model, run.loss, keep=("train", "test"), **options)


@pytest.mark.parametrize("name", ["numpy", "equal", "tolist", "float", "mask"])
def test_what_cannot_be_vectorised_is_refused_in_words(name: str) -> None:
    def rows(w: Tensor, x: Tensor) -> list[Tensor]:
        value = lambda p, one: (p * READS[name](one[None])).sum()  # noqa: E731
        return [vmap(grad(value), in_dims=(None, 0))(w, x)]

    with pytest.raises(QueryError, match="cannot be differentiated sample by sample"):
        Batched(rows, axis=0)([X[0]], [X])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MODELS)
def test_honest_models_pass_every_comparison(
    name: str, dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every traced call is compared, in blocks of another size first: rounding raises no alarm."""
    monkeypatch.setattr(batched, "PLAIN_CALLS", 0)
    monkeypatch.setattr(spot_check, "RAREST", 1)
    momentum = lambda m: torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.5)  # noqa: E731
    run = record_run(tmp_path / "run.zarr", momentum, model=MODELS[name](), steps=2, dtype=dtype)
    before = spot_check.traced_calls()
    for keep in (("layer", "test", "output"), ("train", "test")):
        explaind.influence(
            run.path, run.model, run.loss, train=run.train, test=run.train[0], keep=keep, nodes=3,
            tail_tolerance=0, tolerance=1e3,
        )  # fmt: skip
    assert spot_check.traced_calls() > before


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agreement_is_up_to_rounding_of_the_largest_entry(dtype: torch.dtype) -> None:
    one = torch.tensor([4.0, 1e-3, 0.0], dtype=dtype)
    small = 0.9 * ROUNDINGS * 4.0 * torch.finfo(dtype).eps
    assert differing_entry(one + torch.tensor([0, small, 0], dtype=dtype), one) is None
    assert differing_entry(one + torch.tensor([0, 0, 1.2 * small], dtype=dtype), one) == 2
    inf, nan = torch.tensor([torch.inf, 1], dtype=dtype), torch.tensor([torch.nan, 1], dtype=dtype)
    assert differing_entry(inf, inf) is None and differing_entry(nan, nan) is None
    assert differing_entry(inf, -inf) == 0 and differing_entry(nan, inf) == 0
    assert first_difference([one], [one, one]) and first_difference([one], [one[:2]])
    assert first_difference([one], [one.clone()]) is None
    assert first_difference([torch.zeros(2)], [torch.tensor([0, 1e-30])]), "zeros are exact"
