"""Figure 6: influence of the batch over the course of a language model's training."""

from __future__ import annotations

from explaind.figures.terms import drawer

__all__ = ["draw"]

draw = drawer("batch")
