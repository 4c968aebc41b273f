"""Every mode of an explanation against the definition in float64 (explaind/reference/recordings.py)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import xarray as xr
from torch import Tensor, nn

import explaind
from tests.attribution.tiny import Run

SUMMED = ("layer", "test", "output")
MODES = [SUMMED, ("train", "test", "output"), ("parameter", "test"), ("step", "layer", "train")]


def momentum(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.5, weight_decay=0.1)


def explained(run: Run, keep: tuple[str, ...], **options: Any) -> xr.Dataset:
    """An explanation so fine that only rounding and 1e-7 are left of its quadrature."""
    chosen = {"tolerance": 1e-8, "max_nodes": 81, "tail_tolerance": 0, "test": run.test[0], **options}
    return explaind.influence(run.path, run.model, run.loss, train=run.train, keep=keep, **chosen)


def check_by_definition(
    run: Run, *, twin: nn.Module | None = None, keeps: Any = MODES, atol: float = 1e-6, **options: Any
) -> None:
    """Compare the kernel of every mode with sums of the definition's tensor.

    Args:
        run: recorded, with at most a few dozen parameters.
        twin: a model of the same recorded names that autograd can be trusted with; the run's own by default.
        keeps: the axes of each explanation.
        atol: largest accepted difference.
        options: of `influence`.
    """
    reference = (run if twin is None else replace(run, model=twin)).reference(nodes=8)
    layout = run.trajectory.layout
    layers: dict[str, list[slice]] = {}
    for name, part in layout.slices().items():
        layers.setdefault(name.rpartition(".")[0] or name, []).append(part)

    def by_layer(tensor: Tensor, axis: int) -> Tensor:
        """Sum the parameters of each layer."""
        moved = tensor.movedim(axis, 0)
        found = [sum(moved[part].sum(0) for part in parts) for parts in layers.values()]
        return torch.stack(found).movedim(0, axis)

    whole = reference.influence  # [S, D, N, X, O]
    expected = {
        SUMMED: by_layer(whole.sum((0, 2)), 0),
        ("train", "test", "output"): whole.sum((0, 1)),
        ("parameter", "test"): whole.sum((0, 2, 4)),
        ("step", "layer", "train"): by_layer(whole.sum((3, 4)), 1),
    }
    for keep in keeps:
        scores = explained(run, keep, **options)
        torch.testing.assert_close(
            torch.tensor(scores.kernel.values).double(), expected[keep], atol=atol, rtol=0, msg=str(keep)
        )
    importance = explained(run, ("layer",), importance=("test", "output"), **options)
    torch.testing.assert_close(
        torch.tensor(importance.kernel.values).double(),
        expected[SUMMED].abs().sum((1, 2)),
        atol=atol * expected[SUMMED][0].numel(),
        rtol=0,
    )
    margin = explained(run, ("layer", "test"), target="margin", **{**options, "test": run.test})
    parts = sum(margin[name].values.sum() for name in ("kernel", "regularization", "residual"))
    assert abs(parts - float((margin.final - margin.initial).sum())) < max(1e-10, atol)
