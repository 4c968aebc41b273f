"""The precision of what is stored."""

from __future__ import annotations

import numpy as np
import xarray as xr

__all__ = ["in_single_precision"]


def in_single_precision(dataset: xr.Dataset) -> xr.Dataset:
    """Large arrays as float32 on disk; what certifies them stays float64."""
    large = [
        name for name, values in dataset.data_vars.items() if values.ndim >= 3 and values.dtype == np.float64
    ]
    return dataset.assign({name: dataset[name].astype(np.float32) for name in large})
