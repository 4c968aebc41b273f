"""Every algorithm, kept axis and lineage against the definition written out in explaind/reference/recordings.py, in float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module

import pytest
import torch
import xarray as xr

import explaind
from explaind.features import batched
from tests.attribution.tiny import Run, record_run

PLANNING = import_module("explaind.attribution.plan")  # the package has a function of this name
OPTIMIZERS = {
    "adamw": lambda m: torch.optim.AdamW(m.parameters(), lr=0.005, weight_decay=0.5, betas=(0.9, 0.98)),
    "adam": lambda m: torch.optim.Adam(m.parameters(), lr=0.005, weight_decay=0.3),
    "sgd": lambda m: torch.optim.SGD(m.parameters(), lr=0.025),
    "momentum": lambda m: torch.optim.SGD(
        m.parameters(), lr=0.0125, momentum=0.9, weight_decay=0.05, dampening=0.3
    ),
    "nesterov": lambda m: torch.optim.SGD(
        m.parameters(), lr=0.0125, momentum=0.8, weight_decay=0.05, nesterov=True
    ),
}
# One query per algorithm and shape of the answer; 16 parameters belong to the first layer, 15 to the second.
QUERIES = {
    "forward": (("step", "layer", "test", "output"), "update"),
    "reverse-layers": (("layer",), "update"),
    "reverse-parameters": (("parameter", "test", "output"), "update"),
    "adjoint": (("layer", "train", "test", "output"), "update"),
    "adjoint-sums-outputs": (("train", "test"), "update"),
    "adjoint-by-sample": (("step", "layer", "test", "output"), "sample"),
    "adjoint-by-sample-and-train": (("step", "train", "test"), "sample"),
    "directional": (("layer", "train", "test", "output"), "update"),
    "directional-by-sample-and-train": (("step", "train", "test"), "sample"),
    "buffered": (("step", "train", "test", "output"), "update"),
}
BATCHES = [[0, 1, 2], [3, 4, 5], [6, 0, 0], [1, 2, 3], [4, 5]]
# Quadrature is asked for 1e-10 per step and row; five steps and sums over 27 rows stay below this.
CLOSE = 5e-9


@pytest.fixture(scope="module", params=OPTIMIZERS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("runs") / f"{request.param}.zarr"
    return record_run(path, OPTIMIZERS[request.param], batches=BATCHES)


@pytest.fixture(scope="module")
def whole(run: Run):
    return run.reference(nodes=12)


def expected(tensor: torch.Tensor, keep: tuple[str, ...]) -> torch.Tensor:
    """Sum the reference tensor [S, D, N, X, O] to the kept axes."""
    if "layer" in keep:
        tensor = torch.stack([tensor[:, :16].sum(1), tensor[:, 16:].sum(1)], 1)
    elif "parameter" not in keep:
        tensor = tensor.sum(1, keepdim=True)
    axes = {"step": 0, "train": 2, "test": 3, "output": 4}
    drop = [axis for name, axis in axes.items() if name not in keep]
    if "layer" not in keep and "parameter" not in keep:
        drop.append(1)
    return tensor.sum(drop) if drop else tensor


@pytest.fixture(scope="module")
def answer(run: Run) -> Callable[[str], xr.Dataset]:
    """The answer to a query of `QUERIES`, computed once."""

    @cache
    def of(name: str) -> xr.Dataset:
        keep, lineage = QUERIES[name]
        with pytest.MonkeyPatch.context() as patch:  # of so small a model, products cost less than gradients
            if name.startswith("adjoint"):
                patch.setattr(PLANNING, "cheaper", lambda problem, rows: False)
            return explaind.influence(
                run.path, run.model, run.loss, train=run.train, test=run.test[0],
                keep=keep, lineage=lineage, tolerance=1e-10, max_nodes=243, tail_tolerance=0,
            )  # fmt: skip

    return of


@pytest.mark.parametrize("name", QUERIES)
def test_kernel_equals_the_definition(answer, whole, name: str) -> None:
    keep, lineage = QUERIES[name]
    scores = answer(name)
    assert scores.attrs["algorithm"] == name.partition("-")[0]
    reference = whole.seen if lineage == "sample" else whole.influence
    torch.testing.assert_close(
        torch.tensor(scores.kernel.values), expected(reference, keep), atol=CLOSE, rtol=0
    )


@pytest.mark.parametrize("name", ["forward", "reverse-parameters", "buffered"])
def test_regularization_equals_the_definition(answer, whole, name: str) -> None:
    kept = tuple(axis for axis in QUERIES[name][0] if axis != "train")
    reference = expected(whole.regularization.unsqueeze(2), kept)
    torch.testing.assert_close(
        torch.tensor(answer(name).regularization.values), reference, atol=CLOSE, rtol=0
    )


@pytest.mark.parametrize("name", QUERIES)
def test_completeness(answer, name: str) -> None:
    scores = answer(name)
    parts = [scores[name] for name in ("kernel", "regularization", "residual")]
    total = scores.initial + sum(
        part.sum([d for d in part.dims if d not in ("test", "output")]) for part in parts
    )
    assert float(abs(total - scores.final).max()) < 1e-12
    assert float(abs(scores.residual).max()) < CLOSE
    assert float(abs(scores.replay).max()) < 1e-13


@pytest.mark.parametrize("window", [(2, 4)])
def test_a_window_counts_the_momentum_of_earlier_batches(run: Run, window: tuple[int, int]) -> None:
    reference = run.reference(nodes=12, start=window[0], stop=window[1])
    for keep in (("layer", "train", "test"), ("step", "train", "test")):
        scores = explaind.influence(
            run.path, run.model, run.loss, train=run.train, test=run.test[0],
            keep=keep, steps=slice(*window), tolerance=1e-10, max_nodes=243, tail_tolerance=0,
        )  # fmt: skip
        got = torch.tensor(scores.kernel.values)
        torch.testing.assert_close(got, expected(reference.influence, keep), atol=CLOSE, rtol=0)
        assert float(abs(scores.replay).max()) < 1e-13


def test_the_definition_takes_no_other_optimizer_for_sgd(tmp_path) -> None:
    run = record_run(tmp_path / "run", lambda m: torch.optim.RMSprop(m.parameters(), lr=0.01), steps=2)
    with pytest.raises(ValueError, match="knows Adam, AdamW and SGD, not RMSprop"):
        run.reference()


def test_a_cut_tail_shows_as_replay_error_and_nowhere_else(run: Run) -> None:
    if run.trajectory.step(0).momentum[0] == 0 and run.trajectory.optimizer == "SGD":
        pytest.skip("plain SGD has no tail")
    options = {
        "train": run.train,
        "test": run.test[0],
        "keep": ("train", "test"),
        "steps": slice(3, 5),
        "tolerance": 1e-9,
    }
    whole = explaind.influence(run.path, run.model, run.loss, tail_tolerance=0, **options)
    cut = explaind.influence(run.path, run.model, run.loss, tail_tolerance=0.85, **options)
    missing = (whole.kernel - cut.kernel).sum("train") + (whole.regularization - cut.regularization)
    assert float(abs(missing).max()) > 1e-6
    torch.testing.assert_close(
        torch.tensor(cut.replay.values), torch.tensor(missing.values), atol=1e-9, rtol=0
    )


@pytest.mark.parametrize("name", ["forward", "reverse-parameters", "adjoint", "buffered"])
def test_traced_evaluation_gives_the_same_numbers(
    run: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short runs are evaluated plainly; with tracing from the first call on, nothing changes but rounding."""
    keep, lineage = QUERIES[name]
    options = {"train": run.train, "test": run.test[0], "keep": keep, "lineage": lineage, "nodes": 2}
    plain = explaind.influence(run.path, run.model, run.loss, **options)
    monkeypatch.setattr(batched, "PLAIN_CALLS", 0)
    traced = explaind.influence(run.path, run.model, run.loss, **options)
    for part in ("kernel", "regularization"):
        torch.testing.assert_close(
            torch.tensor(traced[part].values), torch.tensor(plain[part].values), atol=1e-13, rtol=0
        )
