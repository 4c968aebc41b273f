"""Fetch a data set, check it, and keep it as one store: everything later reads that store alone."""

from __future__ import annotations

from explaind.config.declarations import Stage
from explaind.datasets.images import write_data as write

__all__ = ["write"]

STAGE = Stage(
    options=("data.source",),
    requires="data.source.dataset",
    memory=2000,
    runtime=60,
    priority=9,
    note="needs the network once",
)
