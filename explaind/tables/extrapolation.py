"""A batch's later momentum: measured update by update, against its extrapolation from the batch's own update (Remark F.3).

A gradient that enters at update k acts again at every later update j through the first moment, with weight β1^(j−k). Where only
the checkpoint is known, the remark multiplies the batch's explicit contribution by the sum of these weights. That takes the
loss's gradient, the preconditioner and the learning rate for constant; the known learning rates and bias corrections can be put
in, the rest cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from explaind.config.declarations import Table
from explaind.store import read_dataset
from explaind.store.files import write_csv
from explaind.studies.components import by_component

__all__ = ["TABLE", "factors", "write"]

TABLE = Table(
    file="extrapolation",
    shows="a batch's later momentum, measured and extrapolated",
    details="One row per interval and kind of component, and `all`.",
    caption="How a batch acts through the momentum of later updates: measured, and extrapolated from its own update.",
    inputs={"intervals": "explain_interval"},
    requires="study.intervals",
    columns={
        "checkpoint": ("", "at the start of the interval"),
        "update": ("step", "the batch's own update"),
        "later": ("updates", "that follow in the interval"),
        "component": ("", "kind of component, or `all`"),
        "explicit": ("nats per token", "contribution of the batch at its own update"),
        "measured": ("nats per token", "its contributions through momentum at the later updates"),
        "extrapolated": ("nats per token", "`explicit` × Σ β1^i"),
        "adjusted": (
            "nats per token",
            "the same with the learning rates and bias corrections of the later updates",
        ),
        "error": ("share", "|`extrapolated` − `measured`| / |`measured`|"),
        "error_adjusted": ("share", "|`adjusted` − `measured`| / |`measured`|"),
    },
)


def write(*, intervals: Sequence[Path], output: Path) -> None:
    """Write one row per interval and kind of component, and a row "all".

    Args:
        intervals: stores "update-interval".
        output: CSV with the columns of `TABLE`; `update` is k.
    """
    rows = []
    for path in intervals:
        interval = read_dataset(path, kind="update-interval")
        plain, adjusted = factors(interval)
        explicit, measured = (
            interval["score"].isel(update=0).sel(term="batch", drop=True),
            interval["later"].sum("update"),
        )
        for component, a, b in _pairs(explicit, measured):
            rows.append(
                {
                    "checkpoint": interval.attrs["checkpoint"],
                    "update": int(interval["update"][0]),
                    "later": interval.sizes["update"] - 1,
                    "component": component,
                    "explicit": a,
                    "measured": b,
                    "extrapolated": plain * a,
                    "adjusted": adjusted * a,
                    "error": abs(plain * a - b) / abs(b) if b else np.nan,
                    "error_adjusted": abs(adjusted * a - b) / abs(b) if b else np.nan,
                }
            )
    write_csv(pd.DataFrame(rows), output)


def factors(interval: xr.Dataset) -> tuple[float, float]:
    """Σ_{i≥1} β1^i over the interval's later updates; and with the learning rates and bias corrections of those updates."""
    beta, steps, lr = interval.attrs["betas"][0], interval["update"].values, interval["lr"].values
    later = np.arange(1, len(steps))
    correction = 1 - beta ** (steps + 1.0)
    weights = beta**later
    ratio = lr[1:] / lr[0] * correction[0] / correction[1:] if lr[0] else np.ones(len(later))
    return float(weights.sum()), float((weights * ratio).sum())


def _pairs(explicit: xr.DataArray, measured: xr.DataArray) -> list[tuple[str, float, float]]:
    """(component, explicit, measured) of each kind, and of all together."""
    a, b = by_component(explicit), by_component(measured)
    names = [str(name) for name in a["component"].values]
    each = [(name, float(a.sel(component=name)), float(b.sel(component=name))) for name in names]
    return [*each, ("all", float(explicit.sum()), float(measured.sum()))]
