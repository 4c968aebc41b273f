"""Figure 14: influence of the weight decay over the course of a language model's training."""

from __future__ import annotations

from explaind.config.declarations import Figure
from explaind.figures.terms import drawer

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="14",
    file="fig14_regularization",
    shows="regularization influence by component and depth",
    details="as figure 6, through the update's weight decay",
    caption="The same as figure 6 for the weight decay (paper, figure 14). Its size follows the learning rate.",
    inputs={"updates": "updates"},
    options=("figure.dpi",),
    requires="checkpoints",
)

draw = drawer("regularization")
