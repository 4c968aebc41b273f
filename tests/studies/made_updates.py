"""Made-up stores of explained updates: two layers, two query heads and one key-value head, four checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from explaind.features.units import Cut, make_units
from explaind.store import write_dataset
from explaind.updates.terms import TERMS

STEPS = (10, 20, 30, 40)


def _cut(name: str, shape: object) -> Cut:
    depth = int(name[-1])
    if name.startswith("q"):
        return Cut("attention", depth, "q_proj", 0, 2)
    if name.startswith("v"):
        return Cut("attention", depth, "v_proj")
    if name.startswith("mlp"):
        return Cut("MLP", depth, "up_proj")
    return Cut("input embedding" if name.startswith("in") else "output embedding", depth)


UNITS = make_units(dict.fromkeys(("in0", "q1", "v1", "mlp1", "q2", "v2", "mlp2", "out3"), (2, 2)), _cut)


def scores(values: np.ndarray, **dims: list) -> xr.DataArray:
    """An array (…, unit) with the units' coordinates; other dimensions first, as named."""
    coords = {name: ("unit", np.asarray(column)) for name, column in UNITS.coordinates().items()}
    return xr.DataArray(values, dims=(*dims, "unit"), coords={**dims, **coords})


def term_scores(
    batch: np.ndarray, momentum: np.ndarray, regularization: np.ndarray, first: list, name: str
) -> xr.DataArray:
    """(first dimension, term, unit) from three arrays [first, units]."""
    return scores(np.stack([batch, momentum, regularization], 1), **{name: first, "term": list(TERMS)})


def write_updates(path: Path, array: xr.DataArray) -> Path:
    """A store "updates" whose residuals are half a thousandth of the change."""
    total = array.sum(("term", "unit")).values
    count = array.sizes["checkpoint"]
    dataset = xr.Dataset(
        {
            "score": array,
            "change": ("checkpoint", total / 0.9995),
            "reconstruction": ("checkpoint", total),
            "residual": ("checkpoint", total / 0.9995 - total),
            "passes": ("checkpoint", np.full(count, 3)),
            "by_nodes": (("checkpoint", "nodes"), np.stack([total * 1.1, total], 1)),
            "before": (("checkpoint", "heldout"), np.full((count, 2), 5.0)),
            "after": (("checkpoint", "heldout"), 5.0 + total[:, None] / 0.9995 * np.ones(2)),
            **{
                name: ("checkpoint", np.ones(count))
                for name in ("train_loss", "gradient_norm", "clip", "lr", "seconds")
            },
            "step": ("checkpoint", list(STEPS[:count])),
            "notes": ("checkpoint", [""] * count),
        },
        coords={"nodes": [1, 3]},
        attrs={"tolerance": 1e-3},
    )
    write_dataset(dataset, path, kind="updates")
    return path


def write_interval(
    path: Path, array: xr.DataArray, later: np.ndarray, lr: list[float], checkpoint: str
) -> Path:
    """A store "update-interval"; `later` [updates, units]."""
    change = array.sum(("term", "unit"))
    dataset = xr.Dataset(
        {
            "score": array,
            "later": scores(later, update=list(array["update"].values)),
            "change": change * 1.01,
            "residual": change * 0.01,
            "replay": ("update", np.full(array.sizes["update"], 1e-6)),
            "lr": ("update", lr),
        },
        attrs={"checkpoint": checkpoint, "betas": [0.5, 0.9], "arrival": 0.0},
    )
    write_dataset(dataset, path, kind="update-interval")
    return path


def series(**by_component: list[float]) -> xr.DataArray:
    """(checkpoint, term, unit): kinds of components over time, of the batch or of the term before "__", each in one unit."""
    place = {"attention": 1, "mlp1": 4, "mlp2": 8, "inner": 0, "outer": 9}
    count = len(next(iter(by_component.values())))
    arrays = {term: np.zeros((count, UNITS.size)) for term in TERMS}
    for key, values in by_component.items():
        term, _, name = key.rpartition("__")
        arrays[term or "batch"][:, place[name]] = values
    return term_scores(
        *arrays.values(),
        [f"step-{step}" for step in range(10, 10 * len(arrays["batch"]) + 1, 10)],
        "checkpoint",
    )
