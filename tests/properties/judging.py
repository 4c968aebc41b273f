"""Compare an answer of `explaind.influence` with the truth, number by number."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from tests.properties.truth import Truth

ORDER = ("step", "layer", "train", "test", "output")


def wrongness(
    found: xr.Dataset, truth: Truth, query: dict[str, Any], *, with_train: bool, tolerance: float
) -> tuple[float, str]:
    """(largest deviation beyond the quadrature's tolerance, relative to the largest entry of the truth; where it occurs).

    Args:
        found: the answer.
        truth: what really happened.
        query: the options that were asked, `keep` among them.
        with_train: were training samples and loss given? Without them, nobody can tell a penalty's gradient from the
            samples', and `kernel` is by definition all that entered through gradients.
        tolerance: that the integrals were asked for.
    """
    total = len(truth.influence)
    start, stop, _ = (query.get("steps") or slice(None)).indices(total)
    pieces = {
        "kernel": truth.influence,
        "regularization": truth.regularization.unsqueeze(2),
        "carried": truth.carried.unsqueeze(2),
    }
    if not with_train:
        pieces["kernel"] = torch.cat([truth.influence, truth.rest.unsqueeze(2)], dim=2)
    importance = tuple(query.get("importance", ()))
    deviations: dict[str, float] = {}
    scale = 0.0
    for name, tensor in pieces.items():
        expected = _reduced(tensor[start:stop], found.get(name), found, truth, importance)
        scale = max(scale, float(np.abs(expected).max(initial=0.0)))
        if name not in found:
            deviations[name] = float(np.abs(expected).max(initial=0.0))
        elif found[name].shape != expected.shape:
            deviations[name] = float("inf")
        else:
            deviations[name] = float(np.abs(found[name].values - expected).max(initial=0.0))
    if not importance:
        axes = [i for i, axis in enumerate(("test", "output")) if axis not in query["keep"]]
        whole = _whole(found)
        for name, at in (("initial", start), ("final", stop)):
            expected = truth.values[at].sum(axes).numpy() if axes else truth.values[at].numpy()
            deviations[name] = float(np.abs(found[name].values - expected).max())
        deviations["completeness"] = float(np.abs(whole - found["final"].values).max())
    # What `tolerance` per update and row allows an entry that sums over updates, tests and outputs.
    keep = query["keep"]
    allowed = 1.0 if "step" in keep else float(stop - start)
    for axis, size in (("test", truth.values.shape[1]), ("output", truth.values.shape[2])):
        allowed *= 1 if axis in keep else size
    deviations = {
        name: max(0.0, value - 2 * tolerance * allowed) if name in pieces else value
        for name, value in deviations.items()
    }
    worst = max(deviations, key=lambda name: deviations[name])
    return deviations[worst] / max(scale, 1e-9), worst


def _whole(found: xr.Dataset) -> np.ndarray:
    """initial + everything that is added to it."""
    value = found["initial"].astype(np.float64)
    for name in ("kernel", "regularization", "carried", "residual", "omitted"):
        if name in found:
            value = value + found[name].sum([d for d in found[name].dims if d not in ("test", "output")])
    return value.values


def _reduced(
    tensor: Tensor, like: xr.DataArray | None, found: xr.Dataset, truth: Truth, importance: tuple[str, ...]
) -> np.ndarray:
    """[S, D, N, X, O] summed, absolute values last, to the axes of the answer."""
    dims = found["kernel"].dims if like is None else like.dims
    if "layer" in dims:
        owner = np.array(truth.layers)
        labels = [str(label) for label in (found["kernel"] if like is None else like)["layer"].values]
        masks = torch.tensor(np.array([owner == label for label in labels]), dtype=torch.float64)
        tensor = torch.einsum("sdnxo,ld->slnxo", tensor, masks)
    kept = [axis for axis in ORDER if axis in dims or (axis == "layer" and "parameter" in dims)]
    if "train" in dims and like is not None and like.sizes["train"] > tensor.shape[2]:
        more = like.sizes["train"] - tensor.shape[2]
        tensor = torch.nn.functional.pad(tensor, (0, 0, 0, 0, 0, more))
    inside = [i for i, axis in enumerate(ORDER) if axis not in kept and axis not in importance]
    if inside:
        tensor = tensor.sum(inside, keepdim=True)
    if importance:
        tensor = tensor.abs().sum([ORDER.index(axis) for axis in importance], keepdim=True)
    gone = tuple(i for i, axis in enumerate(ORDER) if axis not in kept)
    array = tensor.numpy().squeeze(gone)
    names = ["parameter" if axis == "layer" and "parameter" in dims else axis for axis in kept]
    return array.transpose([names.index(d) for d in dims]) if dims else array
