"""Figure 15: influence of the momentum over the course of a language model's training."""

from __future__ import annotations

from explaind.config.declarations import Figure
from explaind.figures.terms import drawer

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="15",
    file="fig15_momentum",
    shows="momentum influence by component and depth",
    details="as figure 6, through the momentum that the checkpoint holds",
    caption="The same as figure 6 for the momentum that the checkpoint holds (paper, figure 15).",
    inputs={"updates": "updates"},
    options=("figure.dpi",),
    requires="checkpoints",
)

draw = drawer("momentum")
