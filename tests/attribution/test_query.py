"""What a query may ask: everything else is refused in words, before any loop begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import explaind
from explaind.attribution.query import Query, select_steps
from explaind.errors import DataError, ExplaindError, QueryError, StoreError
from tests.attribution.tiny import Net, Run, make_data, record_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    make = lambda m: torch.optim.AdamW(m.parameters(), lr=0.02)  # noqa: E731
    return record_run(tmp_path_factory.mktemp("query") / "run.zarr", make, batches=[[0, 1], [2, 3], [6], [4]])


@pytest.fixture
def no_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every algorithm's walk over the steps fails this test if it is entered."""

    def entered(*arguments: object, **options: object) -> None:
        raise AssertionError("the walk over the steps began")

    monkeypatch.setattr("explaind.attribution.api.answer", entered)


QUERIES = {
    "unknown axis": ({"keep": ("step", "head")}, "'head' in `keep` is unknown"),
    "unknown single axis": ({"keep": "layers"}, "'layers' in `keep` is unknown"),
    "no list": ({"keep": None}, "not a list of axes"),
    "kept twice": ({"keep": ("test", "step", "test")}, "kept twice"),
    "layer and parameter": ({"keep": ("layer", "parameter")}, "cannot both be kept"),
    "importance of a kept axis": ({"keep": ("test",), "importance": "test"}, "both kept and summed"),
    "importance of another axis": ({"importance": ("train",)}, "'train' in `importance` is unknown"),
    "single parameters as layers": ({"keep": "layer", "groups": "parameter"}, "axis 'parameter'"),
    "lineage": ({"lineage": "batch"}, "lineage is unknown"),
    "target": ({"target": 3}, "target is not understood"),
    "negative tolerance": ({"tolerance": -1e-3}, "tolerance is not usable"),
    "tolerance NaN": ({"tolerance": float("nan")}, "tolerance is not usable"),
    "tolerance in words": ({"tolerance": "small"}, "tolerance is not usable"),
    "tail tolerance": ({"tail_tolerance": -1}, "tail_tolerance is not usable"),
    "no nodes": ({"nodes": 0}, "nodes is not usable"),
    "half a node": ({"max_nodes": 1.5}, "max_nodes is not usable"),
}
STEPS = {
    "a slice that skips": (slice(0, 4, 2), "must not skip"),
    "a slice beyond the run": (slice(7, 9), "outside the recording"),
    "a slice that ends before it begins": (slice(3, 1), "outside the recording"),
    "a slice of fractions": (slice(0.5, 3), "not whole numbers"),
    "a list with repetition": ([1, 1], "not usable"),
    "a list beyond the run": ([0, 4], "not usable"),
    "a negative step": ([-1], "not usable"),
    "fractions": ([1.5], "not whole numbers"),
    "a mask": ([True, False, True, True], "not whole numbers"),
    "words": ("all", "not whole numbers"),
}


@pytest.mark.parametrize("case", QUERIES)
def test_refused_query(run: Run, no_loop: None, case: str) -> None:
    options, words = QUERIES[case]
    with pytest.raises(QueryError) as caught:
        explaind.influence(run.path, run.model, run.loss, test=run.test, **options)
    assert words in str(caught.value)
    with pytest.raises(QueryError):
        explaind.plan(run.path, run.model, run.loss, test=run.test, **options)


@pytest.mark.parametrize("case", STEPS)
def test_refused_steps(run: Run, no_loop: None, case: str) -> None:
    steps, words = STEPS[case]
    with pytest.raises(QueryError) as caught:
        explaind.influence(run.path, run.model, run.loss, test=run.test, steps=steps)
    assert words in str(caught.value)


def test_steps_as_python_has_them() -> None:
    assert select_steps(None, 4) == (0, 1, 2, 3)
    assert select_steps(slice(-2, None), 4) == (2, 3)
    assert select_steps(slice(1, 99), 4) == (1, 2, 3)
    assert select_steps(slice(2, 2), 4) == ()
    assert select_steps([3, 0], 4) == (0, 3)
    assert select_steps(np.array([2, 1]), 4) == (1, 2)


@pytest.mark.parametrize("keep", [(), ("layer",), ("step", "layer"), ("parameter",)])
def test_an_empty_window_is_answered_with_zeros(run: Run, keep: tuple[str, ...]) -> None:
    for importance in ((), ("test",), ("test", "output")):
        scores = explaind.influence(
            run.path, run.model, test=X, keep=keep, importance=importance, steps=slice(2, 2)
        )
        assert scores.kernel.dims == keep
        assert float(abs(scores.kernel).sum() + abs(scores.replay).sum()) == 0
        assert scores.nodes.size == 0


def test_one_axis_may_stand_by_itself() -> None:
    query = Query(keep="train", importance="test")
    assert query.keep == ("train",)
    assert query.resolves("test")
    assert not query.keeps("test")
    assert query.contracts
    assert Query(keep="step", lineage="sample").contracts
    assert not Query(keep=("step", "layer")).contracts


X, Y = make_data()[1]
SAMPLES = {
    "NaN": ({"test": torch.full_like(X, float("nan"))}, DataError, "NaN"),
    "infinite": ({"test": X / 0}, DataError, "NaN or infinite"),
    "none": ({"test": X[:0]}, DataError, "no test samples"),
    "other lengths": ({"test": (X, Y[:2])}, DataError, "do not belong together"),
    "text": ({"test": ["one", "two"]}, DataError, "form that can be indexed"),
    "a wrong width": ({"test": torch.zeros(3, 5).double()}, QueryError, "could not be evaluated"),
    "integers for numbers": ({"test": torch.zeros(3, 3).long()}, QueryError, "could not be evaluated"),
    "label too large": ({"test": (X, Y + 2), "target": "margin"}, QueryError, "could not be evaluated"),
    "label too large for the loss": (
        {"test": (X, torch.tensor([0, 1, 3])), "target": "loss"}, QueryError, "could not be evaluated"
    ),
    "label negative": ({"test": (X, Y - 3), "target": "margin"}, QueryError, "could not be evaluated"),
    "a target that is one number": ({"test": X, "target": lambda f, y: f.sum()}, QueryError, "evaluated"),
    "a target that fails": ({"test": X, "target": lambda f, y: f.gather(1, y[:, None])}, QueryError, "could not be evaluated"),
    "training samples missing": ({"test": X, "keep": "train"}, QueryError, "needs the training samples"),
    "credit by sample without samples": (
        {"test": X, "keep": "step", "lineage": "sample"}, QueryError, "needs the training samples"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SAMPLES)
def test_refused_test_samples(run: Run, no_loop: None, case: str) -> None:
    options, error, words = SAMPLES[case]
    with pytest.raises(error) as caught:
        explaind.influence(run.path, run.model, run.loss, **options)
    assert words in str(caught.value)


def test_labels_that_no_target_reads_do_not_matter(run: Run) -> None:
    for target in ("output", "second", lambda f, y: f[:, :2]):
        scores = explaind.influence(run.path, run.model, test=(X, Y + 40), target=target, keep="test")
        assert scores.sizes["test"] == 3


TRAIN = {
    "too few": (lambda x, y: (x[:6], y[:6]), QueryError, "at least 7 training samples"),
    "no targets": (lambda x, y: x, QueryError, "no targets"),
    "other lengths": (lambda x, y: (x, y[:5]), DataError, "do not belong together"),
    "NaN": (lambda x, y: (x * float("nan"), y), DataError, "NaN"),
    "a wrong width": (lambda x, y: (x[:, :2], y), QueryError, "batch of update 0"),
    "labels out of range": (lambda x, y: (x, y + 7), QueryError, "batch of update 0"),
}


@pytest.mark.parametrize("case", TRAIN)
def test_refused_training_samples(run: Run, no_loop: None, case: str) -> None:
    """The sample 6 is in one batch only, which the check of a few updates need not meet."""
    change, error, words = TRAIN[case]
    with pytest.raises(error) as caught:
        explaind.influence(run.path, run.model, run.loss, train=change(*run.train), test=X, keep="train")
    assert words in str(caught.value)


def test_refused_model_and_path(run: Run, no_loop: None, tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        explaind.influence(run.path, Net(hidden=5).double(), test=X)
    with pytest.raises(ExplaindError):
        explaind.influence(tmp_path / "nothing.zarr", run.model, test=X)


def test_the_callers_gradient_mode_does_not_matter(run: Run) -> None:
    options = {"train": run.train, "test": X, "keep": ("train", "test")}
    plain = explaind.influence(run.path, run.model, run.loss, **options)
    with torch.no_grad():
        quiet = explaind.influence(run.path, run.model, run.loss, **options)
    np.testing.assert_array_equal(plain.kernel.values, quiet.kernel.values)
