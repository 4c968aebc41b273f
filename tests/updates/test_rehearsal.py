"""Losses that are no function of parameters and sample alone are refused, and the model is left as it was in every case."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from explaind.checkpoints import TrainingState
from explaind.errors import DataError, ExplaindError, QueryError, RecordingError
from explaind.updates.explain import explain_update
from tests.updates.networks import HELDOUT, TRAIN, losses

OWN = torch.Generator()


class Hooked(nn.Module):
    """A network whose hidden layer [n, 4] passes a function of a test's."""

    def __init__(self, change: Callable[[nn.Module, Tensor], Tensor] = lambda model, hidden: hidden) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 1)
        self.register_buffer("seen", torch.zeros(4))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("empty", None)
        self.change, self.remembered = change, 0

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.change(self, torch.tanh(self.first(inputs))))[:, 0]


def explain(model: nn.Module, loss=losses, train: Tensor = TRAIN, heldout: Tensor = HELDOUT, **options):
    """With AdamW, after its first update, with gradients left over."""
    if not hasattr(model, "state"):
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        losses(Hooked().to(next(model.parameters()).dtype), train).mean().backward()
        object.__setattr__(model, "state", TrainingState(model, optimizer))
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 3.0)
    return explain_update(model.state, model, loss, train, heldout, **options)


def remember(model: Hooked, hidden: Tensor) -> Tensor:
    with torch.no_grad():
        model.seen.mul_(0.9).add_(hidden.mean(0), alpha=0.1)
        model.calls += 1
    return hidden


def replace_buffer(model: Hooked, hidden: Tensor) -> Tensor:
    model.seen = model.seen + hidden.detach().mean(0)
    model.register_buffer("added", torch.ones(2))
    return hidden


def now_and_then(model: Hooked, hidden: Tensor) -> Tensor:
    model.remembered += 1
    if model.remembered > 20:
        model.seen += 1
    return hidden


def layer_drop(model: Hooked, hidden: Tensor) -> Tensor:
    """Hardly ever, so that two evaluations agree; it draws."""
    return hidden * 0 if random.random() < 1e-9 else hidden


def by_own_generator(model: Hooked, hidden: Tensor) -> Tensor:
    return hidden + 0.01 * torch.randn(4, generator=OWN, dtype=hidden.dtype)


def by_memory(model: Hooked, hidden: Tensor) -> Tensor:
    model.remembered += 1
    return hidden * (1 + 1e-6 * model.remembered)


def center_by_running_mean(model: Hooked, hidden: Tensor) -> Tensor:
    out = hidden - 1e-3 * model.seen
    remember(model, hidden)
    return out


def among_prefix(model: Hooked, hidden: Tensor) -> Tensor:
    return hidden - 0.1 * hidden.cumsum(0)


def by_position(model: Hooked, hidden: Tensor) -> Tensor:
    return hidden * torch.arange(1, len(hidden) + 1, dtype=hidden.dtype)[:, None]


def by_size(model: Hooked, hidden: Tensor) -> Tensor:
    return hidden / len(hidden)


def with_seed(model: Hooked, hidden: Tensor) -> Tensor:
    torch.manual_seed(3)
    return F.dropout(hidden, 0.5, training=True)


RANDOM = "differs between two evaluations"
BUFFER = "depends on a buffer that the forward pass changes: seen"
MIXED = "depends on the other samples of its batch"
FAULTS: dict[str, tuple[Callable[[Hooked, Tensor], Tensor], str]] = {
    "dropout": (lambda model, h: F.dropout(h, 0.1, training=True), RANDOM),
    "dropout whose mask rarely falls": (lambda model, h: F.dropout(h, 1e-6, training=True), RANDOM),
    "dropout with a seed": (with_seed, RANDOM),
    "random numbers of NumPy": (lambda model, h: h + np.random.rand() * 1e-3, RANDOM),  # noqa: NPY002
    "a layer dropped by Python's": (layer_drop, RANDOM),
    "a generator of its own": (by_own_generator, RANDOM),
    "memory in an attribute": (by_memory, RANDOM),
    "a running mean": (center_by_running_mean, BUFFER),
    "the mean of the batch": (lambda model, h: h - 0.5 * h.mean(0), MIXED),
    "the mean of the batch, detached and small": (lambda model, h: h - 1e-7 * h.mean(0).detach(), MIXED),
    "batch statistics": (lambda model, h: F.batch_norm(h, None, None, training=True), "fails on|depends on"),
    "the samples before": (among_prefix, MIXED),
    "the place in the batch": (by_position, MIXED),
    "the size of the batch": (by_size, MIXED),
    "infinite beside others": (lambda model, h: h / (len(h) - 1), MIXED),
    "a buffer that changes late": (now_and_then, "changed a buffer now and then: seen"),
}


def standing(model: nn.Module) -> list[object]:
    """All that must be as before, in comparable form."""
    return [
        *(p.detach().clone() for p in model.parameters()),
        *(p.grad.clone() for p in model.parameters()),
        *(value.clone() for value in model.buffers()),
        torch.tensor([p.requires_grad for p in model.parameters()]),
        torch.tensor([module.training for module in model.modules()]),
        torch.get_rng_state(),
        torch.from_numpy(np.random.get_state()[1].astype(np.int64)),  # noqa: NPY002
        torch.tensor(random.getstate()[1]),
    ]


def check_standing(model: nn.Module, before: list[object], identity: dict[str, int]) -> None:
    after = standing(model)
    assert len(before) == len(after)
    for one, two in zip(before, after, strict=True):
        assert torch.equal(one, two) and one.dtype == two.dtype
    assert {name: id(value) for name, value in model.named_buffers()} == identity
    assert model.empty is None and "empty" in model._buffers


CASES = [(name, dtype) for name in FAULTS for dtype in (torch.float64, torch.float32)]
CASES.remove(("the mean of the batch, detached and small", torch.float32))  # below its resolution


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_what_is_no_function_of_parameters_and_sample_is_refused(name: str, dtype: torch.dtype) -> None:
    change, words = FAULTS[name]
    model = Hooked(change).to(dtype)
    train, heldout = TRAIN.to(dtype), HELDOUT.to(dtype)
    model.state = TrainingState(model, torch.optim.AdamW(model.parameters()))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    model.seen += 0.5
    before, identity = standing(model), {key: id(value) for key, value in model.named_buffers()}
    with pytest.raises(ExplaindError, match=words):
        explain_update(model.state, model, losses, train, heldout)
    check_standing(model, before, identity)


@pytest.mark.parametrize("change", [remember, replace_buffer])
def test_buffers_that_losses_do_not_depend_on_are_put_back(change) -> None:
    plain, model = Hooked().double(), Hooked(change).double()
    expected = explain(plain, samples_per_pass=3)
    model.seen += 0.5
    model.calls += 7
    found = explain(model, samples_per_pass=3)
    before, identity = standing(model), {name: id(value) for name, value in model.named_buffers()}
    found = explain(model, samples_per_pass=3)
    check_standing(model, before, identity)
    assert int(model.calls) == 7 and not hasattr(model, "added")
    np.testing.assert_array_equal(found["score"], expected["score"])
    assert float(found["change"]) == float(expected["change"])


@pytest.mark.parametrize("at", range(1, 30, 4))
def test_the_model_is_left_as_it_was_wherever_it_stops(at: int) -> None:
    """Interrupted at the n-th call of the loss function."""
    model, calls = Hooked(remember).double(), []

    def stops(model: nn.Module, samples: Tensor) -> Tensor:
        calls.append(len(samples))
        torch.rand(1) if len(calls) == at else None
        model.eval() if len(calls) == at else None
        found = losses(model, samples)
        if len(calls) == at:
            raise KeyboardInterrupt
        return found

    explain(model)
    before, identity = standing(model), {name: id(value) for name, value in model.named_buffers()}
    with pytest.raises(KeyboardInterrupt):
        explain(model, stops, samples_per_pass=2)
    check_standing(model, before, identity)


def test_samples_that_mix_in_the_middle_of_the_batch_alone() -> None:
    """First and last sample are well; two of the others are not."""

    def some(model: nn.Module, samples: Tensor) -> Tensor:
        found = losses(model, samples)
        odd = samples[:, 0] == TRAIN[2, 0]
        return torch.where(odd, found * (1 + 0.01 * len(samples)), found)

    with pytest.raises(QueryError, match="training sample 2 evaluated among other samples"):
        explain(Hooked().double(), some)


@pytest.mark.parametrize("functional", [False, True])
def test_gradients_that_do_not_add_up(functional: bool) -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.table = nn.Embedding(5, 3, scale_grad_by_freq=not functional, dtype=torch.float64)

        def forward(self, words: Tensor) -> Tensor:
            return F.embedding(words, self.table.weight, scale_grad_by_freq=True)

    model = Words()
    words = torch.tensor([[0, 1], [1, 2], [3, 4]])
    state = TrainingState(model, torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(
        QueryError, match="gradient of a sample depends" if functional else "how often its rows occur"
    ):
        explain_update(state, model, lambda model, x: model(x).square().sum((1, 2)), words, words)


def test_the_forward_pass_may_not_move_parameters_or_samples() -> None:
    def clamp(model: Hooked, hidden: Tensor) -> Tensor:
        model.last.weight.data.clamp_(-0.05, 0.05)
        return hidden

    model = Hooked(clamp).double()
    kept = model.last.weight.detach().clone()
    with pytest.raises(QueryError, match=r"forward pass changes the parameter last\.weight"):
        explain(model)
    assert torch.equal(model.last.weight, kept)

    def in_place(model: nn.Module, samples: Tensor) -> Tensor:
        samples[:, 0] *= 1.5
        return losses(model, samples)

    train = TRAIN.clone()
    with pytest.raises(DataError, match="changes the samples"):
        explain(Hooked().double(), in_place, train)
    assert torch.equal(train, TRAIN)


def test_modules_that_say_so_are_named() -> None:
    for module, words in ((nn.Dropout(0.2), "dropout"), (nn.BatchNorm1d(4), "mixes the samples")):
        model = Hooked().double()
        model.more = module
        with pytest.raises(RecordingError, match=words):
            explain(model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_rounding_is_no_refusal(dtype: torch.dtype, count: int) -> None:
    """Attention, norms and a large vocabulary in low precision, a memorised sample, one sample alone."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    model = nn.Sequential(nn.Embedding(97, 32), layer, nn.Linear(32, 97)).to(dtype)
    words = torch.randint(97, (count, 6), generator=torch.Generator().manual_seed(1))

    def cross_entropy(model: nn.Module, words: Tensor) -> Tensor:
        logits = 30 * model(words).float()
        return F.cross_entropy(logits.transpose(1, 2), words, reduction="none").mean(1)

    state = TrainingState(model, torch.optim.AdamW(model.parameters(), lr=1e-3))
    found = explain_update(state, model, cross_entropy, words, words, samples_per_pass=4)
    assert np.isfinite(found["score"]).all()
    with torch.no_grad():
        model[2].weight.copy_(40 * model[0].weight)  # some words are known by heart now
    assert np.isfinite(explain_update(state, model, cross_entropy, words, words)["score"]).all()


def test_autocast_is_no_refusal() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 64), nn.GELU(), nn.Linear(64, 1))

    def coarse(model: nn.Module, samples: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            out = model(samples[:, :3])
        return (out[:, 0].float() - samples[:, 3]).square()

    state = TrainingState(model, torch.optim.AdamW(model.parameters(), lr=1e-3))
    found = explain_update(state, model, coarse, TRAIN.float(), HELDOUT.float())
    assert np.isfinite(found["score"]).all()


def test_what_the_checks_cost() -> None:
    """Forward passes of single samples, and one of the batch, besides the gradient's, the nodes' and the two ends'."""
    for change, forward in ((remember, 24), (lambda model, hidden: hidden, 20)):
        model, seen = Hooked(change).double(), []

        def counted(model: nn.Module, samples: Tensor, seen: list[int] = seen) -> Tensor:
            seen.append(len(samples))
            return losses(model, samples)

        found = explain(model, counted, samples_per_pass=100)
        passes = int(found["passes"])
        rest = (2 + passes) * len(HELDOUT) + 2 * len(TRAIN)
        assert sum(seen) - rest == forward + 3
