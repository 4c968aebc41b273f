"""Averages of parameters beside training as the explained model, against the definition and against torch's own averages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import explaind
from explaind.cli.main import _average
from explaind.errors import QueryError
from tests.attribution.tiny import Net, Run, make_data
from tests.situations import EXACT, situation

UPDATES, START, EVERY = 6, 1, 2
TAKEN = {  # how torch averages → the same for ExPLAIND, and a_0 … a_6
    "exponential": (
        {"multi_avg_fn": get_ema_multi_avg_fn(0.7)},
        lambda **how: explaind.Average.exponential(0.7, start=START, every=EVERY, **how),
        [0, 0, 0.49, 0, 0.21, 0, 0.3],
    ),
    "equal": (
        {},
        lambda **how: explaind.Average.equal(start=START, every=EVERY, **how),
        [0, 0, 1 / 3, 0, 1 / 3, 0, 1 / 3],
    ),
}
EXACTLY = {"tolerance": 1e-10, "max_nodes": 243, "tail_tolerance": 0}


def averaged_run(path: Path, how: dict, optimizer: Callable = torch.optim.AdamW) -> tuple[Run, AveragedModel]:
    torch.manual_seed(0)
    model, (train, test) = Net().double(), make_data()
    averaged, optimizer = AveragedModel(model, **how), optimizer(model.parameters(), lr=0.03)
    batches = [list(range(s % 3, 7)) for s in range(UPDATES)]
    with explaind.record(path, model, optimizer, chunk_steps=2) as run:
        for s, index in enumerate(batches):
            optimizer.zero_grad()
            F.cross_entropy(model(train[0][index]), train[1][index]).backward()
            run.batch(index)
            optimizer.step()
            if s >= START and (s - START) % EVERY == 0:
                averaged.update_parameters(model)
    return Run(path, model, F.cross_entropy, train, test, batches), averaged


def explained(run: Run, average: explaind.Average, keep: tuple[str, ...], **options):
    return explaind.influence(
        run.path, run.model, run.loss, train=run.train, test=run.test[0], keep=keep, average=average,
        **{**EXACTLY, **options},
    )  # fmt: skip


def close(found, truth: torch.Tensor) -> None:
    torch.testing.assert_close(torch.tensor(found.values), truth, atol=1e-8, rtol=0)


@situation("Models and losses", "an average of the parameters (EMA, SWA) as the explained model", EXACT)
@pytest.mark.parametrize("kind", TAKEN)
def test_every_way_of_answering_agrees_with_the_definition(tmp_path: Path, kind: str) -> None:
    how, make, weights = TAKEN[kind]
    run, averaged = averaged_run(tmp_path / "run.zarr", how)
    truth = run.reference(nodes=12, average=weights)
    with torch.no_grad():
        close_to_torch = averaged.module(run.test[0]) - truth.final
    assert float(close_to_torch.abs().max()) < 1e-12, "the definition ends at torch's own average"
    assert float(truth.residual().abs().max()) < 1e-9 and truth.replay < 1e-12
    average = make(model=averaged)

    rows = explained(run, average, ("step", "parameter", "test", "output"))
    close(rows.kernel.transpose("step", "parameter", "test", "output"), truth.influence.sum(2))
    close(rows.regularization.transpose("step", "parameter", "test", "output"), truth.regularization)
    layers = explained(run, average, ("step", "layer", "test", "output"))
    close(layers.kernel.sum("layer"), truth.influence.sum((1, 2)))
    samples = explained(run, average, ("train", "test", "output"), tail_tolerance=0)
    close(samples.kernel, truth.influence.sum((0, 1)))
    apart = explained(run, average, ("step", "train", "test", "output"))
    close(apart.kernel, truth.influence.sum(1))
    late = explained(run, average, ("train", "test", "output"), steps=slice(3, None))
    close(late.kernel, truth.influence[3:].sum((0, 1)))
    close(late.initial, run.reference(nodes=2, average=weights, start=3).initial)
    for one in (rows, layers, samples, apart):
        close(one.initial, truth.initial)
        close(one.final, truth.final)
        assert float(abs(one.residual).max()) < 1e-8
        assert one.attrs["average"] == average.name and one.attrs["average_difference"] < 1e-12


def test_momentum_of_updates_before_the_window_reaches_the_average(tmp_path: Path) -> None:
    how, make, weights = TAKEN["exponential"]
    run, _ = averaged_run(
        tmp_path / "run.zarr", how, lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9, weight_decay=0.1)
    )
    truth = run.reference(nodes=12, average=weights)
    by_sample = explained(run, make(), ("step", "train", "test", "output"), lineage="sample")
    close(by_sample.kernel, truth.seen.sum(1))
    assert explaind.verify(
        run.path, run.model, run.loss, train=run.train, test=run.test[0], average=make()
    ).attrs["passed"]


def test_what_the_average_has_not_seen_counts_nothing(tmp_path: Path) -> None:
    run, _ = averaged_run(tmp_path / "run.zarr", {})
    weights = [0.0, 0.5, 0.0, 0.5, 0.0, 0.0, 0.0]
    found = explained(run, explaind.Average.of(weights), ("step", "layer", "test", "output"))
    truth = run.reference(nodes=12, average=weights)
    close(found.kernel.sum("layer"), truth.influence.sum((1, 2)))
    assert float(abs(found.kernel.sel(step=slice(3, None))).max()) == 0
    assert float(abs(found.kernel.sel(step=2)).max()) > 0
    last = explained(run, explaind.Average.of([0.0] * UPDATES + [2.0]), ("layer", "test", "output"))
    plain = explaind.influence(
        run.path, run.model, run.loss, train=run.train, test=run.test[0], keep=("layer", "test", "output"), **EXACTLY
    )  # fmt: skip
    np.testing.assert_allclose(last.kernel, plain.kernel, atol=1e-10)


@pytest.fixture(scope="module")
def of_the_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, AveragedModel]:
    return averaged_run(tmp_path_factory.mktemp("average") / "run.zarr", TAKEN["exponential"][0])


@pytest.mark.parametrize(
    ("average", "message"),
    [
        (lambda model: explaind.Average.exponential(0.6, start=START, every=EVERY, model=model), "is not the averaged model"),
        (lambda model: explaind.Average.exponential(0.7, start=0, every=EVERY, model=model), "is not the averaged model"),
        (lambda model: explaind.Average.equal(model=torch.nn.Linear(2, 2)), "not one of the recorded model"),
        (lambda model: explaind.Average.equal(start=UPDATES), "start within the 6 updates"),
        (lambda model: explaind.Average.equal(every=0), "every ≥ 1"),
        (lambda model: explaind.Average.exponential(1.0), "0 ≤ decay < 1"),
        (lambda model: explaind.Average.of([1.0, 0.0]), "7 numbers"),
    ],
)  # fmt: skip
def test_another_average_is_refused(
    of_the_run: tuple[Run, AveragedModel], average: Callable, message: str
) -> None:
    run, averaged = of_the_run
    with pytest.raises(QueryError, match=message):
        explained(run, average(averaged), ("test",))
    with pytest.raises(QueryError, match=message):
        explained(run, average(averaged.module), ("test",))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("exponential:0.7:1:2", lambda: explaind.Average.exponential(0.7, start=1, every=2)),
        ("exponential:0.9", lambda: explaind.Average.exponential(0.9)),
        ("equal:2", lambda: explaind.Average.equal(start=2)),
        ("equal", lambda: explaind.Average.equal()),
    ],
)
def test_the_command_line_names_averages(text: str, same: Callable) -> None:
    np.testing.assert_array_equal(_average(text).weights(UPDATES), same().weights(UPDATES))


@pytest.mark.parametrize("text", ["exponential", "exponential:x", "equal:1:2:3", "median", "equal:a"])
def test_the_command_line_refuses_other_averages(text: str) -> None:
    with pytest.raises(QueryError, match="average is not understood"):
        _average(text)
