"""Fetch a data set, check it, and keep it as one store: everything later reads that store alone."""

from __future__ import annotations

from explaind.datasets.images import write_data as write

__all__ = ["write"]
