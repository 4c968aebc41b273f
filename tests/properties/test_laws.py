"""Laws of the decomposition, on random runs: completeness, additivity, and invariance to how the work is cut.

Float64; one residual per step and row is at most 1e-8, so sums over 4 steps and 9 rows agree to 1e-6 with room.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import explaind
from explaind.attribution.answer import answer
from explaind.attribution.plan import make_plan
from explaind.attribution.problem import make_problem
from explaind.attribution.query import Query
from tests.attribution.tiny import Run, record_run

SLOW = settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
TOLERANCE, CLOSE = 1e-8, 1e-6
OPTIMIZERS = {
    "adamw": lambda m: torch.optim.AdamW(m.parameters(), lr=0.02, weight_decay=0.5),
    "adam": lambda m: torch.optim.Adam(m.parameters(), lr=0.02, weight_decay=0.2),
    "sgd": lambda m: torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9, weight_decay=0.05, nesterov=True),
}
_RUNS: dict[tuple[str, int], Run] = {}


def recorded(optimizer: str, seed: int) -> Run:
    """A run of four mini-batches, recorded once per optimizer and seed."""
    if (optimizer, seed) not in _RUNS:
        path = Path(tempfile.mkdtemp()) / "run.zarr"
        batches = [[0, 1, 2, 3], [4, 5, 6], [0, 2, 2], [1, 6]]
        _RUNS[optimizer, seed] = record_run(path, OPTIMIZERS[optimizer], batches=batches, seed=seed)
    return _RUNS[optimizer, seed]


def scores(run: Run, keep: tuple[str, ...], **options: object):
    options = {"tolerance": TOLERANCE, "max_nodes": 81, "tail_tolerance": 0, **options}
    return explaind.influence(
        run.path,
        run.model,
        run.loss,
        train=run.train,
        test=options.pop("test", run.test),
        keep=keep,
        **options,
    )


runs = st.tuples(st.sampled_from(sorted(OPTIMIZERS)), st.integers(0, 2))


@SLOW
@given(
    runs,
    st.sampled_from([("step", "layer"), ("layer", "train"), ("step", "train"), ("parameter",), ()]),
    st.sets(st.sampled_from(["test", "output"])),
    st.sampled_from(["update", "sample"]),
    st.sampled_from(["output", "loss", "first"]),
)
def test_completeness(which, keep, rows, lineage, target) -> None:
    run = recorded(*which)
    found = scores(run, (*keep, *sorted(rows)), lineage=lineage, target=target)
    parts = [found[name] for name in ("kernel", "regularization", "residual")]
    total = found.initial + sum(p.sum([d for d in p.dims if d not in ("test", "output")]) for p in parts)
    assert float(abs(total - found.final).max()) < 1e-12
    assert float(abs(found.residual).sum()) < CLOSE


@SLOW
@given(runs, st.lists(st.sampled_from(["a", "b", "c"]), min_size=4, max_size=4))
def test_additivity_over_any_partition_of_the_parameters(which, labels) -> None:
    run = recorded(*which)
    names = [name for name, _ in run.model.named_parameters()]
    groups = {
        g: [n for n, label in zip(names, labels, strict=True) if label == g] for g in sorted(set(labels))
    }
    grouped = scores(run, ("layer", "test", "output"), groups=groups)
    single = scores(run, ("parameter", "test", "output"))
    sizes = [p.numel() for p in run.model.parameters()]
    owner = np.repeat(labels, sizes)
    for name in ("kernel", "regularization"):
        for group in groups:
            parts = single[name].values[owner == group].sum(0)
            np.testing.assert_allclose(grouped[name].sel(layer=group).values, parts, atol=CLOSE)


@SLOW
@given(runs, st.integers(1, 3), st.sampled_from([("layer", "test"), ("train", "test", "output")]))
def test_additivity_over_windows_of_steps(which, cut, keep) -> None:
    run = recorded(*which)
    whole, first, second = (scores(run, keep, steps=s) for s in (None, slice(0, cut), slice(cut, None)))
    np.testing.assert_allclose((first.kernel + second.kernel).values, whole.kernel.values, atol=CLOSE)
    np.testing.assert_allclose(first.final.values, second.initial.values, atol=0)


@SLOW
@given(runs, st.integers(1, 3), st.sampled_from([("layer", "test", "output"), ("layer", "train", "test")]))
def test_invariance_to_the_size_of_blocks(which, block, keep) -> None:
    run = recorded(*which)
    query = Query(keep, tolerance=TOLERANCE, max_nodes=81, tail_tolerance=0)
    problem = make_problem(run.path, run.model, run.loss, query, train=run.train, test=run.test)
    plan = make_plan(problem, timed=False)
    whole = answer(problem, plan)
    cut = answer(problem, replace(plan, block=block))
    np.testing.assert_allclose(cut.kernel.values, whole.kernel.values, atol=1e-12)


@SLOW
@given(runs, st.permutations(range(3)))
def test_permutation_of_the_test_samples(which, order) -> None:
    run = recorded(*which)
    shuffled = tuple(part[list(order)] for part in run.test)
    for keep in (("layer", "test"), ("train", "test")):
        plain, moved = scores(run, keep), scores(run, keep, test=shuffled)
        np.testing.assert_allclose(
            moved.kernel.values, plain.kernel.isel(test=list(order)).values, atol=1e-12
        )


@SLOW
@given(runs, st.permutations(range(7)))
def test_permutation_of_the_training_samples(which, order) -> None:
    """The same training with its samples stored in another order gives the same influences, in that order."""
    run = recorded(*which)
    back = {old: new for new, old in enumerate(order)}
    path = Path(tempfile.mkdtemp()) / "run.zarr"
    batches = [[back[k] for k in batch] for batch in run.batches]
    moved_data = tuple(part[list(order)] for part in run.train)
    torch.manual_seed(which[1])
    model = type(run.model)().double()
    with explaind.record(path, model, (optimizer := OPTIMIZERS[which[0]](model)), chunk_steps=2) as recorder:
        for index in batches:
            optimizer.zero_grad()
            run.loss(model(moved_data[0][index]), moved_data[1][index]).backward()
            recorder.batch(index)
            optimizer.step()
    moved = explaind.influence(path, model, run.loss, train=moved_data, test=run.test, keep=("train", "test"),
                               tolerance=TOLERANCE, max_nodes=81, tail_tolerance=0)  # fmt: skip
    plain = scores(run, ("train", "test"))
    np.testing.assert_allclose(moved.kernel.values, plain.kernel.isel(train=list(order)).values, atol=CLOSE)


@SLOW
@given(runs)
def test_lineages_have_the_same_total(which) -> None:
    run = recorded(*which)
    update, sample = (scores(run, ("step", "train", "test"), lineage=name) for name in ("update", "sample"))
    np.testing.assert_allclose(update.kernel.sum("step").values, sample.kernel.sum("step").values, atol=CLOSE)


@SLOW
@given(runs, st.sets(st.integers(0, 3), min_size=1, max_size=3))
def test_omitted_steps_are_accounted_for(which, chosen) -> None:
    run = recorded(*which)
    found = scores(run, ("layer", "test", "output"), steps=sorted(chosen))
    parts = found.kernel.sum("layer") + found.regularization.sum("layer") + found.residual + found.omitted
    np.testing.assert_allclose((found.initial + parts).values, found.final.values, atol=1e-12)
    assert float(abs(found.residual).max()) < CLOSE


@SLOW
@given(runs, st.sampled_from([("test",), ("output",), ("test", "output")]), st.booleans(), st.booleans())
def test_importance_is_the_sum_of_absolute_values_taken_last(which, axes, by_step, by_train) -> None:
    run = recorded(*which)
    kept = (("step",) if by_step else ()) + ("layer",) + (("train",) if by_train else ())
    found = scores(run, kept, importance=axes)
    signed = scores(run, (*kept, *axes))
    for name in ("kernel", "regularization"):
        np.testing.assert_allclose(found[name].values, abs(signed[name]).sum(axes).values, atol=CLOSE)
        every = abs(signed[name].sum("layer")).sum(axes)
        np.testing.assert_allclose(found[f"{name}_all"].values, every.values, atol=CLOSE)
