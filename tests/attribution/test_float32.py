"""Runs in float32: what their precision allows, and the switch to float64 where it would not do."""

from __future__ import annotations

import pytest
import torch

import explaind
from tests.attribution.tiny import Run, record_run

KEEPS = [("step", "layer", "test", "output"), ("layer",), ("parameter", "test"), ("layer", "train", "test")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    make = lambda m: torch.optim.AdamW(m.parameters(), lr=0.02, weight_decay=0.3)  # noqa: E731
    path = tmp_path_factory.mktemp("float32") / "run.zarr"
    return record_run(path, make, dtype=torch.float32, steps=6)


def explained(run: Run, keep: tuple[str, ...], **options):
    return explaind.influence(
        run.path,
        run.model,
        run.loss,
        train=run.train,
        test=run.test[0],
        keep=keep,
        tail_tolerance=0,
        **options,
    )


@pytest.mark.parametrize(
    ("options", "dtype"),
    [
        ({"tolerance": 1e-2}, "float32"),
        ({"tolerance": 1e-3}, "float32"),
        ({"tolerance": 9e-4}, "float64"),
        ({"tolerance": 0, "max_nodes": 3}, "float64"),
        ({"nodes": 3, "tolerance": 1e-9}, "float32"),  # fixed nodes promise no tolerance
    ],
)
def test_a_tolerance_below_a_thousandth_is_evaluated_in_float64(run: Run, options: dict, dtype: str) -> None:
    scores = explained(run, ("test", "output"), **options)
    assert scores.attrs["dtype"] == dtype
    assert str(scores.kernel.dtype) in (dtype, "float64")  # sums over steps are kept in float64


@pytest.mark.parametrize("keep", KEEPS)
def test_completeness_is_an_identity_in_float32_too(run: Run, keep: tuple[str, ...]) -> None:
    """The residual takes up rounding, so the identity holds to float64 rounding of float32 numbers' sums."""
    scores = explained(run, keep, tolerance=1e-2)
    assert scores.attrs["dtype"] == "float32"
    total = scores.initial.astype("float64")
    for name in ("kernel", "regularization", "residual"):
        part = scores[name].astype("float64")
        total = total + part.sum([d for d in part.dims if d not in ("test", "output")])
    # by step, the exact changes f_{s+1} − f_s telescope up to one float32 rounding each
    assert float(abs(total - scores.final).max()) < 2e-6
    # six steps and three outputs, one tolerance each; rounding of the replay in float32 far below
    assert float(abs(scores.residual).max()) < 6 * 3 * 1e-2
    assert float(abs(scores.replay).max()) < 1e-5


@pytest.mark.parametrize("keep", KEEPS)
def test_both_precisions_agree(run: Run, keep: tuple[str, ...]) -> None:
    single, double = (explained(run, keep, tolerance=tolerance, max_nodes=27) for tolerance in (1e-3, 1e-5))
    assert single.attrs["dtype"] != double.attrs["dtype"]
    difference = abs(single.kernel - double.kernel).max()
    assert float(difference) < 6 * 2e-3  # a step's quadrature error, over six steps
    assert float(abs(double.residual).max()) < 6 * 3 * 1e-5


def test_a_double_run_stays_double(tmp_path) -> None:
    make = lambda m: torch.optim.SGD(m.parameters(), lr=0.1)  # noqa: E731
    run = record_run(tmp_path / "run.zarr", make, steps=2)
    scores = explained(run, ("layer", "test"), tolerance=1e-2)
    assert scores.attrs["dtype"] == "float64"


def test_integer_and_double_test_samples_are_converted(run: Run) -> None:
    single = explained(run, ("test", "output"), tolerance=1e-2)
    double = explaind.influence(
        run.path, run.model, test=run.test[0].double(), keep=("test", "output"), tolerance=1e-2
    )
    torch.testing.assert_close(
        torch.tensor(single.kernel.values), torch.tensor(double.kernel.values), atol=1e-6, rtol=0
    )
