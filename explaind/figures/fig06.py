"""Figure 6: influence of the batch over the course of a language model's training."""

from __future__ import annotations

from explaind.config.declarations import Figure
from explaind.figures.terms import drawer

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="6",
    file="fig06_batch",
    shows="batch influence by component and depth",
    details="what one simulated update at each checkpoint does to the held-out loss through its batch: by kind of component "
    "(a) and by depth (b), nats per token, negative lowers the loss",
    caption="Influence of the batch on the held-out loss, one simulated update per checkpoint (paper, figure 6): "
    "contributions of the kinds of components (a) and of every depth (b) to the change of the loss. Negative values lower it.",
    inputs={"updates": "updates"},
    options=("figure.dpi",),
    requires="checkpoints",
)

draw = drawer("batch")
