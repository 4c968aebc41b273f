"""A part of the loss that depends on parameters alone: announced, and a term of its own in the answer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

import explaind
from explaind.errors import LedgerError, QueryError, RecordingError
from tests.attribution.test_pauses import OPTIMIZERS, WHOLE
from tests.attribution.tiny import Net, Run, make_data
from tests.situations import EXACT, situation

START = [0.1 * torch.ones_like(p).double() for p in Net().parameters()]


def lasso(model: nn.Module) -> Tensor:
    return sum(p.abs().sum() for p in model.parameters())


def orthogonality(model: nn.Module) -> Tensor:
    gram = model.first.weight.T @ model.first.weight
    return ((gram - torch.eye(3, dtype=gram.dtype)) ** 2).sum()


def distance(model: nn.Module) -> Tensor:
    return sum(((p - q) ** 2).sum() for p, q in zip(model.parameters(), START, strict=True))


PENALTIES = {"L1": lasso, "orthogonality": orthogonality, "distance": distance}
CONSTANT = [0.05] * 6
CHANGING = [0.0, 0.1, 0.1, 0.0, 0.02, 0.03]


def penalized_run(
    path: Path,
    penalty: Callable[[nn.Module], Tensor],
    make: Callable[[nn.Module], torch.optim.Optimizer],
    weights: list[float] = CONSTANT,
    clip: Callable[[Any], object] = lambda parameters: None,
    freeze: tuple[int, ...] = (),
    **options: Any,
) -> Run:
    torch.manual_seed(3)
    model, (data, test) = Net().double(), make_data()
    optimizer = make(model)
    with explaind.record(path, model, optimizer, chunk_steps=2, **options) as run:
        for s, weight in enumerate(weights):
            model.first.requires_grad_(s not in freeze)
            run.penalty(penalty, weight)
            optimizer.zero_grad()
            (F.cross_entropy(model(data[0]), data[1]) + weight * penalty(model)).backward()
            run.batch(range(7))
            clip(model.parameters())
            optimizer.step()
    return Run(path, model, F.cross_entropy, data, test, WHOLE[: len(weights)])


def named(penalty: Callable[[nn.Module], Tensor]) -> Callable[[dict[str, Tensor]], Tensor]:
    """The same as a function of parameters by name, apart from the code that is tested."""

    class Value(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net().double()

        def forward(self) -> Tensor:
            return penalty(self.net)

    return lambda theta: functional_call(Value(), {f"net.{name}": value for name, value in theta.items()}, ())


def explained(run: Run, keep: tuple[str, ...], penalty: Callable, **options: Any) -> Any:
    options = {"tolerance": 1e-10, "max_nodes": 243, "tail_tolerance": 0, "penalty": penalty, **options}
    options = {"train": run.train, "loss_fn": run.loss, **options}
    return explaind.influence(run.path, run.model, test=run.test[0], keep=keep, **options)


def close(found: Any, truth: Tensor) -> None:
    torch.testing.assert_close(torch.tensor(found.values), truth, atol=1e-8, rtol=0)


def check(run: Run, penalty: Callable) -> None:
    """Each way of answering against the definition."""
    reference = run.reference(nodes=12, penalty=named(penalty))
    assert reference.replay < 1e-12, "the definition itself must rebuild the run"
    assert float(reference.residual().abs().max()) < 1e-8
    kernel, term, decay = (
        part.sum(1) for part in (reference.influence, reference.penalty, reference.regularization)
    )
    assert float(term.abs().max()) > 1e-4
    apart = explained(run, ("step", "train", "test", "output"), penalty)
    late = explained(run, ("train", "test", "output"), penalty, steps=slice(3, None))
    close(apart.kernel, kernel)
    close(apart.penalty, term)
    close(apart.regularization, decay)
    close(late.kernel, kernel[3:].sum(0))
    close(late.penalty, term[3:].sum(0))
    close(late.regularization, decay[3:].sum(0))
    without_data = explained(
        run, ("step", "layer", "test", "output"), penalty, train=None, loss_fn=None
    )  # fmt: skip
    for found in (explained(run, ("step", "parameter", "test", "output"), penalty), without_data):
        groups = [axis for axis in found.kernel.dims if axis in ("parameter", "layer")]
        close(found.kernel.sum(groups), kernel.sum(1))
        close(found.penalty.sum(groups), term)
        assert float(abs(found.residual).max()) <= 1e-8


@situation("The loop", "a penalty on the parameters in the loss (L1, orthogonality, distance)", EXACT)
@pytest.mark.parametrize("what", PENALTIES)
def test_a_penalty(tmp_path: Path, what: str) -> None:
    run = penalized_run(tmp_path / "run.zarr", PENALTIES[what], OPTIMIZERS["AdamW"])
    check(run, PENALTIES[what])


@situation("The loop", "a penalty whose weight changes, with clipping by norm or by value", EXACT)
@pytest.mark.parametrize("name", ["Adam", "SGD", "Nesterov"])
def test_a_weight_for_each_update(tmp_path: Path, name: str) -> None:
    def clip(parameters: Any) -> None:
        parameters = list(parameters)
        nn.utils.clip_grad_norm_(parameters, 0.5)
        nn.utils.clip_grad_value_(parameters, 0.1)

    run = penalized_run(tmp_path / "run.zarr", distance, OPTIMIZERS[name], CHANGING, clip)
    assert [run.trajectory.penalty(s) for s in range(6)] == CHANGING
    assert run.trajectory.clip_entries(1) is not None
    check(run, distance)


@pytest.mark.parametrize("name", ["RMSprop", "signum"])
def test_with_other_optimizers(tmp_path: Path, name: str) -> None:
    from tests.attribution.outside import Signum

    make = {
        "RMSprop": lambda m: torch.optim.RMSprop(m.parameters(), lr=0.01, momentum=0.5, weight_decay=0.1),
        "signum": lambda m: Signum(m.parameters(), lr=0.01),
    }[name]
    run = penalized_run(tmp_path / "run.zarr", lasso, make, CHANGING)
    found = explained(run, ("step", "train", "test"), lasso)
    assert found.attrs["replay_worst"] < 1e-10
    assert float(abs(found.replay).max()) < 1e-10


def test_beside_a_frozen_layer(tmp_path: Path) -> None:
    check(penalized_run(tmp_path / "run.zarr", distance, OPTIMIZERS["AdamW"], freeze=(1, 4)), distance)


def test_credited_to_the_update_of_a_sample_and_as_importance(tmp_path: Path) -> None:
    run = penalized_run(tmp_path / "run.zarr", distance, OPTIMIZERS["AdamW"], CHANGING)
    by_update = explained(run, ("step", "train", "test"), distance)
    by_sample = explained(run, ("step", "train", "test"), distance, lineage="sample")
    close(by_sample.penalty.sum("step"), torch.tensor(by_update.penalty.sum("step").values))
    assert abs(by_sample.penalty.sel(step=[0, 3])).max() == 0
    size = explained(run, ("step",), distance, importance=("test", "output"))
    apart = explained(run, ("step", "test", "output"), distance)
    close(size.penalty_all, torch.tensor(abs(apart.penalty).sum(("test", "output")).values))


def test_it_is_verified_and_rehearsed(tmp_path: Path) -> None:
    data = make_data()[0]
    run = penalized_run(
        tmp_path / "run.zarr", lasso, OPTIMIZERS["SGD"], loss_fn=F.cross_entropy, train=data
    )  # fmt: skip
    options = {"train": run.train, "penalty": lasso}
    assert explaind.verify(run.path, run.model, run.loss, **options).attrs["passed"]
    assert explaind.rehearse(run.path, run.model, run.loss, **options).passed
    assert explaind.plan(run.path, run.model, run.loss, test=run.test[0], **options).seconds > 0


def test_what_was_announced_must_be_passed(tmp_path: Path) -> None:
    run = penalized_run(tmp_path / "run.zarr", lasso, OPTIMIZERS["SGD"])
    with pytest.raises(LedgerError, match="trained with a penalty"):
        explained(run, ("step",), None)
    with pytest.raises(LedgerError, match="Update 0 cannot be rebuilt"):
        explained(run, ("step",), distance)
    plain = penalized_run(tmp_path / "plain.zarr", lasso, OPTIMIZERS["SGD"], [0.0] * 6)
    with pytest.raises(QueryError, match="the run announced none"):
        explained(plain, ("step",), lasso)
    assert "penalty" not in explained(plain, ("step",), None)
    other = copy.deepcopy(run.model)
    for wrong, words in (
        (lambda model: lasso(other), "without a gradient"),
        (lambda model: model.first.weight.abs().sum(0), "Return one number"),
        (lambda model: torch.rand(()) * lasso(model), "differ between two calls"),
    ):
        with pytest.raises(QueryError, match=words):
            explained(run, ("step",), wrong)


def test_training_is_the_same_and_wrong_penalties_are_refused(tmp_path: Path) -> None:
    model = Net().double()
    optimizer = OPTIMIZERS["SGD"](model)
    with explaind.record(tmp_path / "run.zarr", model, optimizer) as run:
        state = torch.get_rng_state()
        run.penalty(lasso)
        assert torch.equal(state, torch.get_rng_state())
        run.penalty(lasso, 0.5)
        for wrong, words in (
            (distance, "second penalty"),
            (lasso, "not finite"),
        ):
            with pytest.raises(RecordingError, match=words):
                run.penalty(wrong, float("nan"))
    with explaind.record(tmp_path / "other.zarr", model, optimizer) as run:
        for wrong, words in (
            (lambda m: 3.0, "no scalar"),
            (lambda m: m.first.weight, "no scalar"),
            (lambda m: torch.rand(()) * lasso(m), "random"),
        ):
            with pytest.raises(RecordingError, match=words):
                run.penalty(wrong)
