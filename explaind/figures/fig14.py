"""Figure 14: influence of the weight decay over the course of a language model's training."""

from __future__ import annotations

from explaind.figures.terms import drawer

__all__ = ["draw"]

draw = drawer("regularization")
