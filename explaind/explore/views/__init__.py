"""One room per view. Each makes a `View`: a Plotly figure, the rows that it shows, and a sentence."""

from __future__ import annotations

from explaind.explore.views.view import View

__all__ = ["View"]
