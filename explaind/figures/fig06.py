"""Figure 6: influence of the batch over the course of a language model's training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from explaind.figures.terms import draw_term

__all__ = ["draw"]


def draw(config: Mapping[str, Any], updates: Path, *, stem: Path) -> None:
    """Draw the figure.

    Args:
        config: resolved configuration; read is `figure.dpi`.
        updates: store "updates".
        stem: output path without its suffix.
    """
    draw_term(updates, "batch", stem=stem, dpi=config["figure"]["dpi"])
