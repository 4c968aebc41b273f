"""Because of which training samples: those that helped most, those that harmed most, and what all others sum to."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from explaind.explore.samples import Describe
from explaind.explore.sources import Source
from explaind.explore.views.view import View, signed

__all__ = ["samples", "stored_scores"]

COLUMNS = ("side", "rank", "train", "label", "score")


def stored_scores(source: Source, tests: tuple[int, ...], output: str) -> np.ndarray | None:
    """Scores of all training samples over the whole run, [N], from the store of data attribution; None if it has them not."""
    stored = source.dataset("attribution.zarr", "attribution")
    if stored is None or output in ("margin", "loss") or not tests or max(tests) >= stored.sizes["test"]:
        return None
    from explaind.explore.views.total import _labels

    columns = [int(output)] * len(tests) if output != "true" else _labels(source, tests)
    if columns is None or max(columns) >= stored.sizes["output"]:
        return None
    kernel = stored["kernel"].transpose("test", "output", "train").values
    return sum(kernel[test, column].astype(np.float64) for test, column in zip(tests, columns, strict=True))


def samples(
    source: Source,
    scores: np.ndarray | xr.DataArray | None,
    describe: Describe,
    start: int,
    stop: int,
    top: int = 5,
) -> View:
    """The samples with the largest and the smallest scores.

    Args:
        source: the run.
        scores: of every training sample, [N]; None: not known for this window.
        describe: how a training sample is shown.
        start, stop: the window of updates.
        top: samples on either side.
    """
    if scores is None:
        return View("Which training samples did it is not stored for this window. Compute it.")
    values = np.asarray(scores, dtype=np.float64)
    known = source.known
    inputs, targets = (None, None) if known is None else _pair(known.train)
    order = np.argsort(values, kind="stable")
    top = min(top, len(order) // 2)
    sides = {"helped": order[::-1][:top], "harmed": order[:top]}
    rows, shown = [], []
    for side, chosen in sides.items():
        for rank, k in enumerate(chosen, start=1):
            label = None if targets is None or np.ndim(targets[k]) else _number(targets[k])
            rows.append((side, rank, int(k), label, float(f"{values[k]:.6g}")))
            shown.append({"text": f"train {k}"} if known is None else describe(inputs, int(k)))
    rest = float(values.sum() - sum(values[list(chosen)].sum() for chosen in sides.values()))
    moved = int((values != 0).sum())
    words = (
        f"Updates {start} to {stop - 1}: {moved:,} of {len(values):,} training samples contributed {signed(values.sum())} in "
        f"all; those not shown {signed(rest)}."
    )
    return View(words, COLUMNS, rows, more={"shown": shown, "rest": rest})


def _pair(train: object) -> tuple[Any, Any]:
    """Inputs and targets, also of `explaind.Augmented`."""
    pair = getattr(train, "samples", train)
    pair = getattr(pair, "data", pair)
    if isinstance(pair, tuple | list) and len(pair) == 2:
        return pair[0], pair[1]
    return pair, None


def _number(value: object) -> int | float:
    number = float(value)  # type: ignore[arg-type]
    return int(number) if number.is_integer() else number
