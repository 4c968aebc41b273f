"""One update, explained both ways: an update from a checkpoint is a recording of one step whose buffer is not zero at first.

    batch = kernel        momentum = carried        regularization = regularization        (for each parameter tensor)

Recorded, the terms come from the observed update and the ledger's flat vectors, or from gradients of single samples; from the
checkpoint they come from the optimizer's state, tensor by tensor. The value is the mean loss of held-out samples, float64. The
quadratures differ (midpoints, nested nodes); paths are short and smooth, so that both are within `CLOSE` of the integral.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr
from torch import Tensor, nn

import explaind
from tests.attribution.tiny import Net

CLOSE = 1e-9  # of the largest term: midpoints with 243 nodes miss about 1e-11 of these paths

Make = Callable[[nn.Module, float], torch.optim.Optimizer]
"""(model, weight decay) → the optimizer."""
OPTIMIZERS: dict[str, Make] = {
    "AdamW": lambda m, decay: torch.optim.AdamW(m.parameters(), 3e-3, betas=(0.8, 0.95), weight_decay=decay),
    "Adam": lambda m, decay: torch.optim.Adam(m.parameters(), 3e-3, betas=(0.8, 0.95), weight_decay=decay),
    "SGD": lambda m, decay: torch.optim.SGD(m.parameters(), 1e-3, weight_decay=decay),
    "momentum": lambda m, decay: torch.optim.SGD(m.parameters(), 1e-3, momentum=0.9, weight_decay=decay),
    "dampening": lambda m, decay: torch.optim.SGD(
        m.parameters(), 1e-3, momentum=0.8, dampening=0.4, weight_decay=decay
    ),
    "Nesterov": lambda m, decay: torch.optim.SGD(
        m.parameters(), 1e-3, momentum=0.9, nesterov=True, weight_decay=decay
    ),
    "AdamW in groups": lambda m, decay: torch.optim.AdamW(
        [
            {"params": m.first.parameters(), "lr": 1e-3, "betas": (0.5, 0.9)},
            {"params": m.second.parameters(), "weight_decay": 0.0, "eps": 1e-4},
        ],
        3e-3,
        weight_decay=decay,
    ),
}


def losses(model: nn.Module, samples: Tensor) -> Tensor:
    """The cross entropy of each sample; the last column is the label."""
    return F.cross_entropy(model(samples[:, :3]), samples[:, 3].long(), reduction="none")


def draw(count: int, seed: int) -> Tensor:
    """Inputs and labels side by side [count, 4], float64."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return torch.cat([inputs, torch.randint(0, 3, (count, 1), generator=generator)], 1)


def step(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: Tensor, clip: float | None, run: Any = None
) -> None:
    """One update of a user's loop, recorded if there is a run."""
    optimizer.zero_grad()
    losses(model, batch).mean().backward()
    if clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    if run is not None:
        run.batch(torch.arange(len(batch)))
    optimizer.step()


def recorded(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    clip: float | None,
    train: Tensor,
    heldout: Tensor,
    keep: tuple[str, ...],
) -> dict[str, xr.DataArray]:
    """The terms of one recorded update under the names of an update from a checkpoint, by parameter tensor."""
    with explaind.record(path, model, optimizer) as run:
        step(model, optimizer, train, clip, run)
    scores = explaind.influence(
        path,
        model,
        nn.CrossEntropyLoss(),
        train=(train[:, :3], train[:, 3].long()),
        test=(heldout[:, :3], heldout[:, 3].long()),
        target="loss",
        keep=keep,
        groups={name: [name] for name, _ in model.named_parameters()},
        nodes=243,
    )
    kernel = scores.kernel.sum("train") if "train" in keep else scores.kernel
    found = {"batch": kernel, "regularization": scores.regularization}
    found["momentum"] = scores.get("carried", xr.zeros_like(kernel))
    return {name: (term / len(heldout)).rename(layer="parameter") for name, term in found.items()}


@pytest.mark.parametrize(
    ("before", "clip", "decay", "size", "keep"),
    [
        (0, None, 0.7, 3, ("layer",)),
        (1, 0.05, 0.0, 6, ("layer",)),
        (4, 0.05, 0.7, 1, ("layer", "train")),
    ],
    ids=["first update", "clipped", "all of it"],
)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_both_ways_give_the_same_terms(
    name: str,
    before: int,
    clip: float | None,
    decay: float,
    size: int,
    keep: tuple[str, ...],
    tmp_path: Path,
) -> None:
    """After `before` updates, on a batch of `size` samples; clipped, and decayed, or not."""
    seed = list(OPTIMIZERS).index(name) + 10 * size
    torch.manual_seed(seed)
    model = Net().double()
    optimizer = OPTIMIZERS[name](model, decay)
    for earlier in range(before):
        step(model, optimizer, draw(5, seed + 1000 * (earlier + 1)), clip)
    optimizer.zero_grad()
    train, heldout = draw(size, seed + 1), draw(4, seed + 2)

    twin, twins_optimizer = copy.deepcopy((model, optimizer))
    update = explaind.explain_update(
        explaind.TrainingState(twin, twins_optimizer, clip_norm=clip),
        twin,
        losses,
        train,
        heldout,
        relative_tolerance=1e-13,
        min_nodes=7,
    )
    by_tensor = update.score.groupby("parameter").sum()

    expected = recorded(tmp_path / "run.zarr", model, optimizer, clip, train, heldout, keep)
    scale = max(float(abs(by_tensor).max()), 1e-12)
    for term, values in expected.items():
        ours = by_tensor.sel(term=term, parameter=values.parameter.values)
        np.testing.assert_allclose(ours.values, values.values, rtol=0, atol=CLOSE * scale, err_msg=term)
    if before and name != "SGD":
        assert float(abs(by_tensor.sel(term="momentum")).max()) > 1e-3 * scale, "a buffer that does something"
    if decay:
        assert float(abs(by_tensor.sel(term="regularization")).max()) > 1e-5 * scale
