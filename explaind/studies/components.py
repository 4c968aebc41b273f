"""Coarser views of units: sums of scores over kinds of components, over depth, and over both at once."""

from __future__ import annotations

import numpy as np
import xarray as xr

__all__ = ["by_cell", "by_component", "by_depth", "by_head"]


def by_component(scores: xr.DataArray) -> xr.DataArray:
    """Sum (…, unit) → (…, component), components in the order in which they first appear in the model."""
    return _sum(scores, scores["component"].values.astype(str), "component")


def by_depth(scores: xr.DataArray) -> xr.DataArray:
    """Sum (…, unit) → (…, depth): 0 the input embedding, 1 … L the layers, L + 1 the last norm and the output embedding."""
    return _sum(scores, scores["depth"].values, "depth")


def by_cell(scores: xr.DataArray) -> xr.DataArray:
    """Sum (…, unit) → (…, cell): one cell for each component at each depth, named "component depth"."""
    cells = [
        f"{component} {depth}"
        for component, depth in zip(scores["component"].values, scores["depth"].values, strict=True)
    ]
    return _sum(scores, np.asarray(cells), "cell")


def by_head(scores: xr.DataArray, projections: tuple[str, ...]) -> xr.DataArray:
    """Sum (…, unit) over the named projections of an attention layer → (…, depth, head).

    Args:
        scores: with the units' coordinates.
        projections: of one kind of head: ("q_proj", "o_proj") for query heads, ("k_proj", "v_proj") for key-value heads.
    """
    chosen = scores.isel(unit=np.flatnonzero(np.isin(scores["projection"].values.astype(str), projections)))
    depth, head = (
        chosen["depth"].values,
        np.maximum(chosen["head"].values, 0),
    )  # −1: a single head, which is not divided
    pairs = _sum(chosen, np.asarray([f"{d:06d} {h:06d}" for d, h in zip(depth, head, strict=True)]), "pair")
    depths, heads = np.unique(depth), np.unique(head)
    values = pairs.sortby("pair").values.reshape(*pairs.shape[:-1], len(depths), len(heads))
    dims = (*pairs.dims[:-1], "depth", "head")
    coords = {name: scores[name] for name in pairs.dims[:-1] if name in scores.coords}
    return xr.DataArray(values, dims=dims, coords={**coords, "depth": depths, "head": heads})


def _sum(scores: xr.DataArray, labels: np.ndarray, name: str) -> xr.DataArray:
    scores = scores.transpose(..., "unit")
    first = dict.fromkeys(labels.tolist())
    values = np.stack([scores.values[..., labels == label].sum(-1) for label in first], axis=-1)
    coords = {dim: scores[dim] for dim in scores.dims[:-1] if dim in scores.coords}
    return xr.DataArray(values, dims=(*scores.dims[:-1], name), coords={**coords, name: list(first)})
