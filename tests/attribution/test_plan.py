"""The plan: which algorithm, in which blocks, and a refusal of what the machine cannot hold."""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

import explaind
from explaind.attribution.directional import PRODUCT, PRODUCTS
from explaind.errors import QueryError
from tests.attribution.tiny import Net, Run, make_data, record_run

PLANNING = importlib.import_module("explaind.attribution.plan")  # the package has a function of this name
# keep, other options → algorithm. Two layers, three outputs, three tests.
CHOICES = [
    (("step", "layer", "test", "output"), {}, "forward"),
    (("layer", "test"), {}, "reverse"),  # one row a sample: a backward pass beats two layers forwards
    (("layer",), {"target": "loss"}, "reverse"),
    ((), {"groups": "all"}, "reverse"),
    (("parameter", "test", "output"), {}, "reverse"),
    (("parameter",), {"importance": ("test", "output")}, "reverse"),
    (("layer",), {"importance": ("test", "output")}, "forward"),
    (("layer", "train", "test", "output"), {}, "directional"),
    (("train",), {"importance": ("test",)}, "directional"),
    (("step", "layer", "test"), {"lineage": "sample"}, "adjoint"),
    (("layer", "test", "output"), {"lineage": "sample"}, "forward"),  # no step axis: both lineages are one
    (("step", "train"), {"lineage": "sample"}, "directional"),
    (("step", "train"), {}, "buffered"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    make = lambda m: torch.optim.AdamW(m.parameters(), lr=0.02)  # noqa: E731
    return record_run(tmp_path_factory.mktemp("plan") / "run.zarr", make, steps=4)


def planned(run: Run, keep: tuple[str, ...], **options):
    return explaind.plan(run.path, run.model, run.loss, train=run.train, test=run.test, keep=keep, **options)


@pytest.mark.parametrize(("keep", "options", "algorithm"), CHOICES)
def test_the_algorithm_of_each_query(run: Run, keep: tuple, options: dict, algorithm: str) -> None:
    plan = planned(run, keep, **options)
    assert plan.algorithm == algorithm
    assert (plan.steps, plan.tests) == (4, 3)
    assert plan.blocks * plan.block >= 3
    assert (plan.gemm_flop > 0) == (algorithm == "buffered"), "the others that keep samples form no gradients"
    scores = explaind.influence(
        run.path, run.model, run.loss, train=run.train, test=run.test, keep=keep, **options
    )
    assert scores.attrs["algorithm"] == algorithm


@pytest.mark.parametrize(("keep", "options", "algorithm"), CHOICES)
def test_the_size_of_the_result_is_predicted(run: Run, keep: tuple, options: dict, algorithm: str) -> None:
    """Kernel and regularization; regularization has no train axis, so it can only be smaller than planned."""
    plan = planned(run, keep, **options)
    scores = explaind.influence(
        run.path, run.model, run.loss, train=run.train, test=run.test, keep=keep, **options
    )
    kernel = scores.kernel.size * 8
    assert kernel <= plan.result_bytes <= 2 * kernel
    assert plan.peak_bytes >= plan.result_bytes


def test_steps_count(run: Run) -> None:
    few, all_ = (planned(run, ("layer",), steps=steps) for steps in (slice(1, 2), None))
    assert (few.steps, all_.steps) == (1, 4)
    assert all_.passes == pytest.approx(4 * few.passes)


def test_seconds_are_counts_times_what_two_small_evaluations_took(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that says each took one second: so many samples forward, and a product of two matrices of 512.

    Batches of training samples count where their gradients are recomputed, and nowhere else.
    """
    ticks = itertools.count()
    monkeypatch.setattr(PLANNING, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    per_product = 2 * 512**3
    for keep, passes in (
        (("layer",), 0),
        (("step", "parameter", "test"), 0),
        (("train", "test"), PRODUCTS + 3 * PRODUCT),
        (("step", "train"), 3),
    ):
        plan = planned(run, keep)
        samples = 4 * plan.blocks * sum(len(batch.indices) for batch in run.trajectory.step(0).batches)
        forward = (plan.passes * plan.tests + passes * samples) / PLANNING.TIMED
        expected = forward + plan.gemm_flop / per_product
        assert plan.seconds == pytest.approx(expected, rel=1e-12)


def memory(available: float):
    return lambda: SimpleNamespace(available=available, total=available)


@pytest.mark.parametrize(
    "keep", [("layer", "test", "output"), ("layer", "train", "test"), ("parameter", "test")]
)
def test_what_does_not_fit_is_refused_before_the_work(
    run: Run, keep: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(run, keep)
    needed = plan.peak_bytes - plan.reading_bytes  # updates are read as far as memory goes
    monkeypatch.setattr(psutil, "virtual_memory", memory(needed - 1))
    monkeypatch.setattr("explaind.attribution.api.check_replay", lambda *_: pytest.fail("work began"))
    for function in (explaind.plan, explaind.influence):
        with pytest.raises(QueryError, match="does not fit into memory"):
            function(run.path, run.model, run.loss, train=run.train, test=run.test, keep=keep)
    monkeypatch.setattr(psutil, "virtual_memory", memory(needed + 1))
    assert planned(run, keep).peak_bytes == plan.peak_bytes


def test_a_kernel_that_only_its_absolute_values_survive_counts(run: Run) -> None:
    small = planned(run, ("layer",), importance=("test", "output"), lineage="sample")
    large = planned(run, ("train",), importance=("test", "output"))
    assert (
        large.peak_bytes >= large.result_bytes + large.reading_bytes + 3 * 3 * 7 * 8
    )  # tests × outputs × train, float64
    assert small.algorithm == "forward"


def test_blocks_of_rows_follow_the_budget(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = ("train", "test", "output")
    whole = planned(run, keep)
    assert (whole.block, whole.blocks) == (3, 1)
    rows = whole.peak_bytes - whole.result_bytes - whole.reading_bytes
    monkeypatch.setattr(PLANNING, "ROW_BYTES", rows - 1)
    cut = planned(run, keep)
    assert (cut.block, cut.blocks) == (2, 2)
    assert cut.peak_bytes < whole.peak_bytes
    monkeypatch.setattr(PLANNING, "ROW_BYTES", 1)
    assert planned(run, keep).block == 1  # one sample at a time is the least there is


def test_blocks_do_not_change_the_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where absolute values close each block, and where tests are summed across blocks."""
    queries = [
        {"keep": ("train", "test", "output")},
        {"keep": ("train",), "importance": ("test", "output")},
        {"keep": ("step", "layer"), "importance": ("test", "output")},
        {"keep": ("layer",), "importance": ("output",)},
        {"keep": ("parameter",), "importance": ("test",)},
        {"keep": ("step", "layer", "output")},
        {"keep": ("step", "train"), "importance": ("test",)},
        {"keep": ("step", "train"), "importance": ("output",), "lineage": "sample"},
    ]
    options = {"train": run.train, "test": run.test[0], "tolerance": 1e-9, "tail_tolerance": 0}
    whole = [explaind.influence(run.path, run.model, run.loss, **query, **options) for query in queries]
    monkeypatch.setattr(PLANNING, "ROW_BYTES", 1)
    monkeypatch.setattr(PLANNING, "FORWARD_BYTES", 1)
    for query, expected in zip(queries, whole, strict=True):
        found = explaind.influence(run.path, run.model, run.loss, **query, **options)
        assert set(found.data_vars) == set(expected.data_vars)
        for name in expected.data_vars:
            assert found[name].dims == expected[name].dims
            torch.testing.assert_close(
                torch.tensor(found[name].values), torch.tensor(expected[name].values), atol=1e-9, rtol=0
            )


def test_updates_that_are_held_count(run: Run) -> None:
    """AdamW: parameters and second moments of all four updates, float64; there is no more to read."""
    plan = planned(run, ("layer", "test"))
    steps, size = run.trajectory.n_steps, run.trajectory.layout.size
    assert plan.reading_bytes == 2 * min(steps, 8) * size * 8
    assert plan.peak_bytes > plan.reading_bytes + plan.result_bytes


@pytest.mark.parametrize("updates, every, rows", [(5, 2, 4), (3, 2, 3), (9, 3, 6)])
def test_segments_of_a_small_recording_count(tmp_path: Path, updates: int, every: int, rows: int) -> None:
    torch.manual_seed(0)
    model, (train, test) = Net().double(), make_data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with explaind.record(tmp_path / "run.zarr", model, optimizer, keep="replay", every=every) as recorder:
        for _ in range(updates):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(train[0]), train[1]).backward()
            recorder.batch(range(7))
            optimizer.step()
    loss = torch.nn.functional.cross_entropy
    plan = explaind.plan(tmp_path / "run.zarr", model, loss, train=train, test=test, keep=("layer",))
    assert plan.reading_bytes == rows * sum(p.numel() for p in model.parameters()) * 8
