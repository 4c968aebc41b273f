"""Influence: a query to the tensor of influences, the plan that answers it, and the answer (method.md sections 3 and 4)."""

from __future__ import annotations

from explaind.attribution.api import influence, plan
from explaind.attribution.plan import Plan
from explaind.attribution.query import Query

__all__ = ["Plan", "Query", "influence", "plan"]
