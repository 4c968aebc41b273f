"""Bars that add up, from an initial to a final value."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

__all__ = ["UP_AND_DOWN", "waterfall"]

UP_AND_DOWN = ("#D55E00", "#0072B2")
"""Colours of what raises and what lowers the value."""


def waterfall(
    axes: Axes,
    parts: Mapping[str, float],
    *,
    colours: Mapping[str, str] | None = None,
    size: float | None = None,
) -> None:
    """Draw one bar per part, each from where the one before it ended, with its name and value at the right.

    Args:
        axes: to draw on.
        parts: name → value; the first is the initial value, the last the final one, which is their sum.
        colours: of parts that have one of their own.
        size: of the letters, points; None: the axes' own.
    """
    (first, level), *terms, (last, final) = parts.items()
    levels, labels = [0.0, level], [f"{first} {level:+.3g}"]
    axes.barh(0, level, color="0.75", height=0.7)
    for position, (name, value) in enumerate(terms, start=1):
        colour = (colours or {}).get(name, UP_AND_DOWN[value <= 0])
        axes.barh(position, value, left=level, color=colour, height=0.7)
        axes.plot([level, level], [position - 1.35, position + 0.35], color="0.4", linewidth=0.5)
        level += value
        levels.append(level)
        labels.append(f"{name} {value:+.3g}")
    axes.barh(len(terms) + 1, final, color="0.45", height=0.7)
    labels.append(f"{last} {final:+.3g}")
    room = 0.04 * (max(levels) - min(levels))
    axes.set_xlim(min(levels) - room, max(levels) + room)
    axes.set_yticks(np.arange(len(labels)), labels, fontsize=size)
    axes.tick_params(axis="x", labelsize=size)
    axes.axvline(0, color="0.3", linewidth=0.5)
    axes.invert_yaxis()
    axes.yaxis.tick_right()
    axes.spines["left"].set_visible(False)
