"""The certificate of a recorded run, update by update: how far what was recorded is from what was observed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from explaind.config.declarations import Figure
from explaind.figures.style import TERM_COLOURS, new_figure
from explaind.store import read_dataset

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="replay",
    file="replay_{experiment}",
    shows="every update rebuilt and compared with the observed one",
    details="difference of every rebuilt update from the observed one, as a share of its length (l2), what rounding of the "
    "stored parameters explains of it, and what was accepted (`verify.tolerance`)",
    caption="**Replay.** Every recorded update was rebuilt from its batch, momentum and weight decay. Points: relative l2 "
    "difference from the observed update. Grey line: what rounding of the stored parameters explains. Dashed: what was accepted.",
    inputs={"certificate": "certify"},
    options=("figure.dpi",),
    requires="verify",
)


def draw(config: Mapping[str, Any], *, certificate: Path, stem: Path) -> None:
    """Draw the figure.

    Args:
        config: `figure.dpi`.
        certificate: store of kind "certificate".
        stem: output path without its suffix.
    """
    certified = read_dataset(certificate, kind="certificate")
    steps = certified["step"].values
    relative, rounding = (_positive(certified[f"replay_{name}"].values) for name in ("relative", "rounding"))
    with new_figure(2.4, stem, config["figure"]["dpi"]) as figure:
        axes = figure.subplots()
        axes.plot(steps, rounding, color="0.6", linewidth=0.9, label="rounding of the parameters")
        axes.plot(steps, relative, ".", color=TERM_COLOURS[0], markersize=2.5, label="difference")
        tolerance = float(certified.attrs["tolerance"])
        axes.axhline(tolerance, color=TERM_COLOURS[1], linewidth=0.9, linestyle=(0, (4, 2)), label="accepted")
        axes.set_yscale("log")
        axes.set_ylim(top=3 * max(tolerance, np.nanmax(relative, initial=0)))
        axes.set_xlim(-0.5, max(len(steps) - 0.5, 0.5))
        axes.set_xlabel("training step")
        axes.set_ylabel("relative difference of the update")
        figure.legend(loc="outside upper center", ncols=3)


def _positive(values: np.ndarray) -> np.ndarray:
    """What a logarithmic axis can show: an exact replay leaves a gap."""
    return np.where(values > 0, values, np.nan)
