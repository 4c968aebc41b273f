"""What a view hands to the page, and how its figure looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from explaind.figures.style import LAYER_COLOURS

__all__ = ["GREY", "REGULARIZATION", "View", "colour", "new_figure", "signed"]

REGULARIZATION, GREY = "#D55E00", "#888888"
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


@dataclass
class View:
    """A view.

    Attributes:
        words: what it shows, in a sentence or two.
        columns, rows: the numbers that it shows, for the page and for the CSV.
        figure: of Plotly; None for views that are tables.
        more: whatever else the page needs of it, as JSON.
    """

    words: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    figure: go.Figure | None = None
    more: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        figure = None if self.figure is None else self.figure.to_plotly_json()
        return {
            "words": self.words,
            "columns": self.columns,
            "rows": self.rows,
            "figure": figure,
            **self.more,
        }


def colour(position: int) -> str:
    """Of a layer, as in the figures."""
    return LAYER_COLOURS[position % len(LAYER_COLOURS)]


def signed(value: float) -> str:
    """With its sign, four digits."""
    return f"{value:+.4g}".replace("-", "−")


def new_figure(figure: go.Figure, height: int, **layout: Any) -> go.Figure:
    """With the page's own margins and fonts. Colours of text and grid are the page's, which knows whether it is dark."""
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 64, "r": 16, "t": 8, "b": 40},
        font={"family": FONT, "size": 12},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hoverlabel={"font": {"family": FONT}},
        **layout,
    )
    return figure
