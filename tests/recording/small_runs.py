"""Runs recorded in full and small, and what they must have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch.nn.functional import cross_entropy

import explaind
from explaind.attribution.replayed import ReplayedTrajectory
from tests.recording.recorded_runs import INPUTS, TARGETS, Run, mlp

TRAIN = (INPUTS, TARGETS)


STEPS = 11


def recorded(
    path: Path,
    optimizer: str = "AdamW",
    options: dict[str, Any] | None = None,
    *,
    steps: int = STEPS,
    loop: dict[str, Any] | None = None,
    **how: Any,
) -> Path:
    """Train the small network, always from the same seed; `how` as of `explaind.record`."""
    model = mlp()
    made = getattr(torch.optim, optimizer)(model.parameters(), **{"lr": 0.05, **(options or {})})
    torch.manual_seed(7)
    with explaind.record(path, model, made, chunk_steps=4, **how) as run:
        Run(model, made, **(loop or {})).train(steps, run, start=run.step)
    return path


def both(folder: Path, every: int, *args: Any, **how: Any) -> tuple[Path, Path]:
    """The same run, recorded in full and small."""
    return (
        recorded(folder / "all.zarr", *args, **how),
        recorded(folder / "small.zarr", *args, keep="replay", every=every, **how),
    )


def explained(path: Path, loss: Callable = cross_entropy, **options: Any) -> xr.Dataset:
    return explaind.influence(
        path,
        mlp(),
        loss,
        **{"train": TRAIN, "test": INPUTS[:3], "keep": ("step", "layer", "test"), **options},
    )


def replayed(path: Path, loss: Callable = cross_entropy) -> ReplayedTrajectory:
    return ReplayedTrajectory(path, mlp(), loss, TRAIN)


def rounded(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The loss, rounded otherwise: it stands for another kind of processor."""
    return cross_entropy(outputs * (1 + 1e-6), targets)


def assert_same_answers(full: Path, small: Path, **options: Any) -> None:
    """Every number of the answer, to the bit."""
    expected, given = explained(full, **options), explained(small, **options)
    assert set(given.data_vars) == set(expected.data_vars)
    for name in expected.data_vars:
        assert (expected[name].values == given[name].values).all(), name
    assert given.attrs["remade"] == given.attrs["remade_same_bits"] > 0
    assert given.attrs["remade_difference"] == 0.0


def assert_same_run(full: Path, small: Path) -> None:
    """Every θ, and what gradients were scaled by, to the bit."""
    expected, given = explaind.Trajectory(full), replayed(small)
    given.verify()
    assert given.complete
    assert given.n_steps == expected.n_steps
    for s in range(expected.n_steps + 1):
        assert torch.equal(given.parameters(s), expected.parameters(s)), s
    for s in range(expected.n_steps):
        if expected.optimizer in ("Adam", "AdamW"):
            assert torch.equal(given.second_moment(s), expected.second_moment(s)), s
        elif expected.optimizer != "SGD":
            assert torch.equal(given.preconditioner(s), expected.preconditioner(s)), s
            assert given.coefficients(s) == expected.coefficients(s)
    assert all(one.other is None and one.difference == 0.0 for one in given.remade.values())


#: Name → (a loss that is not the run's, what its refusal says).
WRONG = {
    "twice": (lambda z, y: 2 * cross_entropy(z, y), "gradient of update 0"),
    "sum": (lambda z, y: cross_entropy(z, y, reduction="sum"), "gradient of update 0"),
    "a little more": (lambda z, y: (1 + 3e-3) * cross_entropy(z, y), "do not lead to the kept state"),
    "smoothed": (lambda z, y: cross_entropy(z, y, label_smoothing=0.1), "gradient of update 0"),
}
